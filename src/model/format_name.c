// Host names (RFC 1123), internationalized ones (RFC 5890 to 5893), and the addresses of mail that
// end in one (RFC 5321, RFC 6531).
#include <assert.h>

#include "base/ascii.h"
#include "base/utf8.h"
#include "model/format.h"
#include "model/unicode.h"
#include "model/uri.h"

enum { LABEL_MAX = 63, NAME_MAX_BYTES = 253 };

// A label as code points.
typedef struct Label {
    uint32_t points[LABEL_MAX];
    size_t count;
} Label;

// ---------------------------------------------------------------------------------------------
// Punycode (RFC 3492)
// ---------------------------------------------------------------------------------------------

// A delta is less than 2^27, and each of its digits makes it at least ten times smaller.
enum { PUNY_BYTES_MAX = LABEL_MAX * 10 + 1 };

enum {
    PUNY_BASE = 36,
    PUNY_T_MIN = 1,
    PUNY_T_MAX = 26,
    PUNY_SKEW = 38,
    PUNY_DAMP = 700,
    PUNY_FIRST_BIAS = 72,
    PUNY_FIRST = 128,
};

static uint32_t adapt(uint32_t delta, uint32_t points, bool is_first)
{
    delta = is_first ? delta / PUNY_DAMP : delta / 2;
    delta += delta / points;
    uint32_t k = 0;
    while (delta > (PUNY_BASE - PUNY_T_MIN) * PUNY_T_MAX / 2) {
        delta /= PUNY_BASE - PUNY_T_MIN;
        k += PUNY_BASE;
    }
    return k + (PUNY_BASE - PUNY_T_MIN + 1) * delta / (delta + PUNY_SKEW);
}

static uint32_t threshold(uint32_t k, uint32_t bias)
{
    return k <= bias ? PUNY_T_MIN : k >= bias + PUNY_T_MAX ? PUNY_T_MAX : k - bias;
}

// A number of variable length, cut off @text and added to *i.
static bool take_delta(Str *text, uint32_t bias, uint32_t *i)
{
    uint64_t weight = 1;
    uint64_t sum = *i;
    for (uint32_t k = PUNY_BASE;; k += PUNY_BASE) {
        if (text->len == 0) {
            return false;
        }
        char c = text->ptr[0];
        uint32_t digit = ascii_is_digit(c)    ? (uint32_t)(c - '0') + 26
                         : ascii_is_letter(c) ? (uint32_t)((c | 0x20) - 'a')
                                              : PUNY_BASE;
        *text = (Str){text->ptr + 1, text->len - 1};
        sum += digit * weight;
        if (digit == PUNY_BASE || sum > INT32_MAX) {
            return false;
        }
        uint32_t t = threshold(k, bias);
        if (digit < t) {
            *i = (uint32_t)sum;
            return true;
        }
        weight *= PUNY_BASE - t;
    }
}

static bool punycode_decode(Str text, Label *label)
{
    label->count = 0;
    for (size_t at = text.len; at-- > 0;) {
        if (text.ptr[at] == '-') {
            for (size_t i = 0; i < at; i++) {
                label->points[label->count++] = (uint8_t)ascii_to_lower(text.ptr[i]);
            }
            text = (Str){text.ptr + at + 1, text.len - at - 1};
            break;
        }
    }
    uint32_t point = PUNY_FIRST;
    uint32_t bias = PUNY_FIRST_BIAS;
    uint32_t i = 0;
    while (text.len > 0) {
        uint32_t before = i;
        if (!take_delta(&text, bias, &i) || label->count == LABEL_MAX) {
            return false;
        }
        uint32_t length = (uint32_t)label->count + 1;
        bias = adapt(i - before, length, before == 0);
        if (i / length > UNICODE_LAST - point) {
            return false;
        }
        point += i / length;
        i %= length;
        memmove(&label->points[i + 1], &label->points[i],
                (label->count - i) * sizeof(label->points[0]));
        label->points[i++] = point;
        label->count++;
    }
    return true;
}

static size_t put_delta(char *out, uint32_t delta, uint32_t bias)
{
    size_t len = 0;
    for (uint32_t k = PUNY_BASE;; k += PUNY_BASE) {
        uint32_t t = threshold(k, bias);
        uint32_t digit = delta < t ? delta : t + (delta - t) % (PUNY_BASE - t);
        out[len++] = (char)(digit < 26 ? 'a' + digit : '0' + (digit - 26));
        if (delta < t) {
            return len;
        }
        delta = (delta - t) / (PUNY_BASE - t);
    }
}

static uint32_t next_point(const Label *label, uint32_t from)
{
    uint32_t next = UINT32_MAX;
    for (size_t i = 0; i < label->count; i++) {
        if (label->points[i] >= from) {
            next = MIN(next, label->points[i]);
        }
    }
    return next;
}

// @out has room for PUNY_BYTES_MAX.
static size_t punycode_encode(const Label *label, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < label->count; i++) {
        if (label->points[i] < 128) {
            out[len++] = (char)label->points[i];
        }
    }
    uint32_t done = (uint32_t)len;
    uint32_t basic = done;
    if (basic > 0) {
        out[len++] = '-';
    }
    uint32_t point = PUNY_FIRST;
    uint32_t delta = 0;
    uint32_t bias = PUNY_FIRST_BIAS;
    while (done < label->count) {
        uint32_t next = next_point(label, point);
        delta += (next - point) * (done + 1); // at most 63 * 0x10ffff
        point = next;
        for (size_t i = 0; i < label->count; i++) {
            delta += label->points[i] < point;
            if (label->points[i] == point) {
                len += put_delta(out + len, delta, bias);
                bias = adapt(delta, done + 1, done == basic);
                delta = 0;
                done++;
            }
        }
        delta++;
        point++;
    }
    return len;
}

// ---------------------------------------------------------------------------------------------
// Labels that are not ASCII
// ---------------------------------------------------------------------------------------------

static bool has_script(const Label *label, size_t at, Script script)
{
    return at < label->count && unicode_find(label->points[at])->script == (uint32_t)script;
}

// A letter that joins is on this side, those that are passed over aside.
static bool joins(const Label *label, size_t at, bool before)
{
    for (size_t i = at; before ? i-- > 0 : ++i < label->count;) {
        Joining joining = (Joining)unicode_find(label->points[i])->joining;
        if (joining != JOINS_THROUGH) {
            return joining == JOINS_BOTH || (!before && joining == JOINS_BEHIND);
        }
    }
    return false;
}

static bool has_any_between(const Label *label, uint32_t from, uint32_t to)
{
    for (size_t i = 0; i < label->count; i++) {
        if (label->points[i] >= from && label->points[i] <= to) {
            return true;
        }
    }
    return false;
}

// RFC 5892, appendix A.
static bool context_holds(const Label *label, size_t at)
{
    bool behind_virama = at > 0 && unicode_find(label->points[at - 1])->is_virama;
    uint32_t point = label->points[at];
    switch (point) {
    case 0x200c:
        return behind_virama || (joins(label, at, true) && joins(label, at, false));
    case 0x200d:
        return behind_virama;
    case 0xb7:
        return at > 0 && at + 1 < label->count && label->points[at - 1] == 'l' &&
               label->points[at + 1] == 'l';
    case 0x375:
        return has_script(label, at + 1, SCRIPT_GREEK);
    case 0x5f3:
    case 0x5f4:
        return at > 0 && has_script(label, at - 1, SCRIPT_HEBREW);
    case 0x30fb:
        for (size_t i = 0; i < label->count; i++) {
            if (label->points[i] != point && has_script(label, i, SCRIPT_KANA)) {
                return true;
            }
        }
        return false;
    default: // the digits of Arabic
        return point < 0x6f0 ? !has_any_between(label, 0x6f0, 0x6f9)
                             : !has_any_between(label, 0x660, 0x669);
    }
}

static bool is_bidi(const Label *label)
{
    for (size_t i = 0; i < label->count; i++) {
        BidiClass bidi = (BidiClass)unicode_find(label->points[i])->bidi;
        if (bidi == BIDI_R || bidi == BIDI_AL || bidi == BIDI_AN) {
            return true;
        }
    }
    return false;
}

// RFC 5893 §2, for a name that has a letter written from right to left.
static bool bidi_holds(const Label *label)
{
    enum { SEEN_EN = 1, SEEN_AN = 2 };
    BidiClass first = (BidiClass)unicode_find(label->points[0])->bidi;
    bool is_right_to_left = first == BIDI_R || first == BIDI_AL;
    BidiClass last = first;
    unsigned seen = 0;
    if (!is_right_to_left && first != BIDI_L) {
        return false;
    }
    for (size_t i = 0; i < label->count; i++) {
        BidiClass bidi = (BidiClass)unicode_find(label->points[i])->bidi;
        bool is_of_right = bidi == BIDI_R || bidi == BIDI_AL || bidi == BIDI_AN;
        if (bidi == BIDI_OTHER || (is_right_to_left ? bidi == BIDI_L : is_of_right)) {
            return false;
        }
        seen |= bidi == BIDI_EN ? SEEN_EN : bidi == BIDI_AN ? SEEN_AN : 0U;
        last = bidi == BIDI_NSM ? last : bidi;
    }
    if (is_right_to_left) {
        return seen != (SEEN_EN | SEEN_AN) &&
               (last == BIDI_R || last == BIDI_AL || last == BIDI_EN || last == BIDI_AN);
    }
    return last == BIDI_L || last == BIDI_EN;
}

static bool is_mark(uint32_t point)
{
    Category category = (Category)unicode_find(point)->category;
    return category == CATEGORY_MN || category == CATEGORY_MC || category == CATEGORY_ME;
}

// RFC 5891 §4.2: a label that is not written in ASCII.
static bool is_unicode_label(const Label *label)
{
    if (label->count == 0 || label->points[0] == '-' || label->points[label->count - 1] == '-' ||
        is_mark(label->points[0]) ||
        (label->count > 3 && label->points[2] == '-' && label->points[3] == '-')) {
        return false;
    }
    for (size_t i = 0; i < label->count; i++) {
        HostUse use = (HostUse)unicode_find(label->points[i])->host;
        if (use == HOST_NO || (use == HOST_CONTEXT && !context_holds(label, i))) {
            return false;
        }
    }
    return true;
}

static bool is_ascii(const Label *label)
{
    for (size_t i = 0; i < label->count; i++) {
        if (label->points[i] >= 128) {
            return false;
        }
    }
    return true;
}

// "xn--…" must be what the label that it stands for becomes.
static bool decode_label(Str text, Label *label)
{
    Str puny = {text.ptr + 4, text.len - 4};
    char again[PUNY_BYTES_MAX];
    if (!punycode_decode(puny, label) || is_ascii(label) || !is_unicode_label(label)) {
        return false;
    }
    size_t len = punycode_encode(label, again);
    if (len != puny.len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (ascii_to_lower(puny.ptr[i]) != again[i]) {
            return false;
        }
    }
    return true;
}

// ---------------------------------------------------------------------------------------------
// Names
// ---------------------------------------------------------------------------------------------

static bool is_ascii_label(Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!ascii_is_alphanumeric(text.ptr[i]) && text.ptr[i] != '-') {
            return false;
        }
    }
    return text.len >= 1 && text.len <= LABEL_MAX && text.ptr[0] != '-' &&
           text.ptr[text.len - 1] != '-';
}

static bool is_encoded(Str text)
{
    return text.len >= 4 && (text.ptr[0] | 0x20) == 'x' && (text.ptr[1] | 0x20) == 'n' &&
           text.ptr[2] == '-' && text.ptr[3] == '-';
}

static bool read_label(Str text, Label *label)
{
    label->count = 0;
    for (size_t i = 0; i < text.len;) {
        size_t len = utf8_character(text.ptr + i, text.len - i);
        if (len == 0 || label->count == LABEL_MAX) {
            return false;
        }
        label->points[label->count++] = utf8_decode(text.ptr + i, len);
        i += len;
    }
    return true;
}

// One label in either form. *ret_bytes is how long it is in ASCII.
static bool check_label(Str text, bool is_international, Label *label, size_t *ret_bytes)
{
    *ret_bytes = text.len;
    if (is_encoded(text)) {
        return is_ascii_label(text) && decode_label(text, label);
    }
    if (!read_label(text, label)) {
        return false;
    }
    if (!is_international || is_ascii(label)) {
        return is_ascii_label(text) &&
               !(is_international && text.len > 3 && text.ptr[2] == '-' && text.ptr[3] == '-');
    }
    char puny[PUNY_BYTES_MAX];
    *ret_bytes = 4 + punycode_encode(label, puny);
    return *ret_bytes <= LABEL_MAX && is_unicode_label(label);
}

// Cuts off the label before the first dot; an internationalized name has four kinds of them.
static Str take_label(Str *text, bool is_international)
{
    static const char *const dots[] = {".", "\xe3\x80\x82", "\xef\xbc\x8e", "\xef\xbd\xa1"};
    for (size_t i = 0; i < text->len; i++) {
        Str rest = {text->ptr + i, text->len - i};
        for (size_t dot = 0; dot < (is_international ? ARRAY_LEN(dots) : 1); dot++) {
            if (str_starts_with(rest, str_from(dots[dot]))) {
                Str label = {text->ptr, i};
                size_t behind = i + strlen(dots[dot]);
                *text = (Str){text->ptr + behind, text->len - behind};
                return label;
            }
        }
    }
    Str label = *text;
    *text = (Str){0};
    return label;
}

static bool is_host_name(Str text, bool is_international)
{
    size_t bytes = 0;
    bool has_bidi = false;
    bool breaks_bidi = false;
    if (text.len == 0) {
        return false;
    }
    while (text.ptr != NULL) {
        Label label;
        size_t label_bytes;
        Str part = take_label(&text, is_international);
        if (!check_label(part, is_international, &label, &label_bytes)) {
            return false;
        }
        has_bidi = has_bidi || is_bidi(&label);
        breaks_bidi = breaks_bidi || !bidi_holds(&label);
        bytes += label_bytes + (bytes > 0);
    }
    return bytes <= NAME_MAX_BYTES && !(has_bidi && breaks_bidi);
}

bool format_hostname(Arena *scratch, Str text)
{
    return is_host_name(text, false);
}

bool format_idn_hostname(Arena *scratch, Str text)
{
    return is_host_name(text, true);
}

// ---------------------------------------------------------------------------------------------
// Mail
// ---------------------------------------------------------------------------------------------

static bool is_atom_character(char c, bool is_international)
{
    return ascii_is_alphanumeric(c) || (is_international && (uint8_t)c >= 0x80) ||
           (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_quoted_local(Str text, bool is_international)
{
    if (text.len < 2 || text.ptr[0] != '"' || text.ptr[text.len - 1] != '"') {
        return false;
    }
    for (size_t i = 1; i < text.len - 1; i++) {
        uint8_t c = (uint8_t)text.ptr[i];
        if (c == '\\') {
            if (++i == text.len - 1) {
                return false;
            }
            c = (uint8_t)text.ptr[i];
        } else if (c == '"') {
            return false;
        }
        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !is_international)) {
            return false;
        }
    }
    return true;
}

static bool is_local(Str text, bool is_international)
{
    enum { LOCAL_MAX = 64 };
    if (text.len == 0 || text.len > LOCAL_MAX) {
        return false;
    }
    if (text.ptr[0] == '"') {
        return is_quoted_local(text, is_international);
    }
    for (size_t i = 0; i < text.len; i++) {
        bool is_dot = text.ptr[i] == '.' && i > 0 && i + 1 < text.len && text.ptr[i - 1] != '.';
        if (!is_dot && !is_atom_character(text.ptr[i], is_international)) {
            return false;
        }
    }
    return true;
}

static bool is_mail_host(Str text, bool is_international)
{
    if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']') {
        Str address = {text.ptr + 1, text.len - 2};
        if (str_starts_with(address, STR("IPv6:"))) {
            return uri_is_ipv6((Str){address.ptr + 5, address.len - 5});
        }
        return uri_is_ipv4(address);
    }
    return is_host_name(text, is_international);
}

static bool is_email(Str text, bool is_international)
{
    for (size_t at = text.len; at-- > 0;) {
        if (text.ptr[at] == '@') {
            return is_local((Str){text.ptr, at}, is_international) &&
                   is_mail_host((Str){text.ptr + at + 1, text.len - at - 1}, is_international);
        }
    }
    return false;
}

bool format_email(Arena *scratch, Str text)
{
    return is_email(text, false);
}

bool format_idn_email(Arena *scratch, Str text)
{
    return is_email(text, true);
}
