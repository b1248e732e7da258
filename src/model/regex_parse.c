// ECMA-262's grammar of patterns (§22.2.1) with its u flag: what has no meaning is an error, and
// nothing is taken for what was meant.
#include <assert.h>

#include "base/ascii.h"
#include "base/utf8.h"
#include "model/regex.h"
#include "model/regex_inside.h"
#include "model/unicode.h"

enum { DEPTH_MAX = 200, NUMBER_MAX = 1000000 };

typedef struct Parser {
    Arena *arena;
    Str pattern;
    size_t at;
    size_t depth;
    uint32_t groups;        // that have a number
    uint32_t reference_max; // the largest number that is referred to
    Str names[64];          // of groups
    size_t name_count;
    Str wanted[64]; // names that are referred to
    size_t wanted_count;
    Error *err;
} Parser;

static Status parse_choice(Parser *in, Node **ret);

static Status fail(Parser *in, const char *what)
{
    return error_set(in->err, ERROR_CONFIG, "the pattern \"%" STR_FMT "\" is wrong at byte %zu: %s",
                     STR_ARG(in->pattern), in->at + 1, what);
}

static bool at_end(const Parser *in)
{
    return in->at >= in->pattern.len;
}

static char peek(const Parser *in)
{
    return at_end(in) ? '\0' : in->pattern.ptr[in->at];
}

static bool take(Parser *in, const char *text)
{
    Str rest = {in->pattern.ptr + in->at, in->pattern.len - in->at};
    if (!str_starts_with(rest, str_from(text))) {
        return false;
    }
    in->at += strlen(text);
    return true;
}

static uint32_t take_character(Parser *in)
{
    size_t len = utf8_character(in->pattern.ptr + in->at, in->pattern.len - in->at);
    assert(len > 0); // the whole pattern is UTF-8
    uint32_t point = utf8_decode(in->pattern.ptr + in->at, len);
    in->at += len;
    return point;
}

static Node *new_node(Parser *in, NodeKind kind)
{
    Node *node = arena_alloc_zero(in->arena, sizeof(*node));
    node->kind = kind;
    return node;
}

static void append(Node *list, Node *node)
{
    assert(node != NULL);
    node->before = list->last;
    if (list->last == NULL) {
        list->first = node;
    } else {
        list->last->next = node;
    }
    list->last = node;
}

// Digits, at least one; more than NUMBER_MAX is that.
static bool take_number(Parser *in, uint32_t *ret)
{
    if (!ascii_is_digit(peek(in))) {
        return false;
    }
    uint32_t value = 0;
    while (ascii_is_digit(peek(in))) {
        value = MIN(value * 10 + (uint32_t)(peek(in) - '0'), (uint32_t)NUMBER_MAX);
        in->at++;
    }
    *ret = value;
    return true;
}

// ---------------------------------------------------------------------------------------------
// Escapes
// ---------------------------------------------------------------------------------------------

static bool take_hex(Parser *in, int count, uint32_t *ret)
{
    uint32_t value = 0;
    for (int i = 0; i < count; i++) {
        int digit = ascii_hex_value(peek(in));
        if (digit < 0) {
            return false;
        }
        value = value << 4 | (uint32_t)digit;
        in->at++;
    }
    *ret = value;
    return true;
}

// Behind \u: {…}, four digits, or two times four that are a surrogate pair.
static bool take_unicode(Parser *in, uint32_t *ret)
{
    if (take(in, "{")) {
        uint32_t value = 0;
        size_t start = in->at;
        while (ascii_hex_value(peek(in)) >= 0 && value <= UNICODE_LAST) {
            value = value << 4 | (uint32_t)ascii_hex_value(peek(in));
            in->at++;
        }
        *ret = value;
        return in->at > start && value <= UNICODE_LAST && take(in, "}");
    }
    if (!take_hex(in, 4, ret)) {
        return false;
    }
    size_t behind = in->at;
    uint32_t low;
    if (*ret >= 0xd800 && *ret <= 0xdbff && take(in, "\\u") && take_hex(in, 4, &low) &&
        low >= 0xdc00 && low <= 0xdfff) {
        *ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
    } else if (*ret >= 0xd800 && *ret <= 0xdbff) {
        in->at = behind;
    }
    return true;
}

// \p{…} and \P{…}, behind the letter.
static Status parse_property(Parser *in, bool is_negated, CharacterClass *class)
{
    ptrdiff_t end = -1;
    if (take(in, "{")) {
        end = str_find((Str){in->pattern.ptr + in->at, in->pattern.len - in->at}, '}');
    }
    if (end < 0) {
        return fail(in, "\\p needs a property in braces");
    }
    Str name = {in->pattern.ptr + in->at, (size_t)end};
    CharacterClass plain = {0};
    if (str_is(name, "ASCII")) {
        class_add(in->arena, &plain, 0, 127);
    } else {
        Str value = name;
        if (str_starts_with(name, STR("gc=")) || str_starts_with(name, STR("General_Category="))) {
            size_t skip = (size_t)str_find(name, '=') + 1;
            value = (Str){name.ptr + skip, name.len - skip};
        }
        uint32_t categories = unicode_categories(value);
        if (categories == 0) {
            return fail(in, "this Unicode property is not known; general categories are");
        }
        class_add_categories(in->arena, &plain, categories);
    }
    in->at += (size_t)end + 1;
    if (is_negated) {
        class_finish(&plain);
        plain = class_complement(in->arena, &plain);
    }
    class_add_class(in->arena, class, &plain);
    return STATUS_OK;
}

// Behind the backslash: an escape that is one character. STATUS_AGAIN: it is another one, and
// nothing was taken.
static Status parse_character_escape(Parser *in, uint32_t *ret)
{
    static const char letters[] = "fnrtv";
    static const char meanings[] = "\f\n\r\t\v";
    static const char syntax[] = "^$\\.*+?()[]{}|/";
    char c = peek(in);
    const char *letter = c == '\0' ? NULL : strchr(letters, c);
    if (letter != NULL) {
        in->at++;
        *ret = (uint8_t)meanings[letter - letters];
        return STATUS_OK;
    }
    if (c != '\0' && strchr(syntax, c) != NULL) {
        in->at++;
        *ret = (uint8_t)c;
        return STATUS_OK;
    }
    if (c == '0') {
        in->at++;
        *ret = 0;
        return ascii_is_digit(peek(in)) ? fail(in, "there is no such escape") : STATUS_OK;
    }
    if (c == 'c') {
        in->at++;
        char of = (char)(peek(in) | 0x20);
        if (of < 'a' || of > 'z') {
            return fail(in, "\\c needs a letter");
        }
        in->at++;
        *ret = (uint32_t)of & 31;
        return STATUS_OK;
    }
    if (c == 'x' || c == 'u') {
        in->at++;
        bool fine = c == 'x' ? take_hex(in, 2, ret) : take_unicode(in, ret);
        return fine ? STATUS_OK : fail(in, "the escape has not enough digits");
    }
    return STATUS_AGAIN;
}

// Behind the backslash: an escape that is a set of characters, or STATUS_AGAIN.
static Status parse_class_escape(Parser *in, CharacterClass *class)
{
    char c = peek(in);
    if (c == '\0' || strchr("dDsSwWpP", c) == NULL) {
        return STATUS_AGAIN;
    }
    in->at++;
    if (c == 'p' || c == 'P') {
        return parse_property(in, c == 'P', class);
    }
    class_add_escape(in->arena, class, c);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Classes
// ---------------------------------------------------------------------------------------------

// One character, or a set, which has no *ret_point.
static Status parse_class_atom(Parser *in, CharacterClass *class, bool *ret_is_set,
                               uint32_t *ret_point)
{
    *ret_is_set = false;
    if (at_end(in)) {
        return fail(in, "the class does not end");
    }
    if (!take(in, "\\")) {
        *ret_point = take_character(in);
        return STATUS_OK;
    }
    if (take(in, "b")) {
        *ret_point = '\b';
        return STATUS_OK;
    }
    if (take(in, "-")) {
        *ret_point = '-';
        return STATUS_OK;
    }
    Status status = parse_class_escape(in, class);
    *ret_is_set = status == STATUS_OK;
    if (status == STATUS_AGAIN) {
        status = parse_character_escape(in, ret_point);
    }
    return status == STATUS_AGAIN ? fail(in, "there is no such escape") : status;
}

static Status parse_class_range(Parser *in, CharacterClass *class)
{
    bool is_set;
    bool is_end_set;
    uint32_t from = 0;
    uint32_t to = 0;
    if (parse_class_atom(in, class, &is_set, &from) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_range =
        peek(in) == '-' && in->at + 1 < in->pattern.len && in->pattern.ptr[in->at + 1] != ']';
    if (!is_range) {
        if (!is_set) {
            class_add(in->arena, class, from, from);
        }
        return STATUS_OK;
    }
    in->at++;
    if (parse_class_atom(in, class, &is_end_set, &to) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_set || is_end_set || from > to) {
        return fail(in, "the range of characters is none");
    }
    class_add(in->arena, class, from, to);
    return STATUS_OK;
}

// Behind the bracket.
static Status parse_class(Parser *in, Node **ret)
{
    bool is_negated = take(in, "^");
    Node *node = new_node(in, NODE_CLASS);
    while (!take(in, "]")) {
        if (parse_class_range(in, &node->class) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    class_finish(&node->class);
    if (is_negated) {
        node->class = class_complement(in->arena, &node->class);
    }
    *ret = node;
    return STATUS_OK;
}

static Node *character_node(Parser *in, uint32_t point)
{
    Node *node = new_node(in, NODE_CLASS);
    class_add(in->arena, &node->class, point, point);
    class_finish(&node->class);
    return node;
}

static Node *any_node(Parser *in)
{
    CharacterClass ends = {0};
    class_add(in->arena, &ends, '\n', '\n');
    class_add(in->arena, &ends, '\r', '\r');
    class_add(in->arena, &ends, 0x2028, 0x2029);
    class_finish(&ends);
    Node *node = new_node(in, NODE_CLASS);
    node->class = class_complement(in->arena, &ends);
    return node;
}

// ---------------------------------------------------------------------------------------------
// Groups and references
// ---------------------------------------------------------------------------------------------

// A name and the bracket behind it.
static Status parse_name(Parser *in, Str *ret)
{
    size_t start = in->at;
    while (!at_end(in) && peek(in) != '>') {
        char c = peek(in);
        bool is_part = c == '$' || c == '_' || ascii_is_letter(c) || (uint8_t)c >= 0x80 ||
                       (in->at > start && ascii_is_digit(c));
        if (!is_part) {
            return fail(in, "this is no name of a group");
        }
        in->at++;
    }
    *ret = (Str){in->pattern.ptr + start, in->at - start};
    return ret->len > 0 && take(in, ">") ? STATUS_OK : fail(in, "the name of the group is missing");
}

static Status name_group(Parser *in)
{
    Str name;
    if (parse_name(in, &name) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < in->name_count; i++) {
        if (str_equal(in->names[i], name)) {
            return fail(in, "two groups have this name");
        }
    }
    if (in->name_count == ARRAY_LEN(in->names)) {
        return fail(in, "there are too many groups with names");
    }
    in->names[in->name_count++] = name;
    return STATUS_OK;
}

// Behind the parenthesis.
static Status parse_group(Parser *in, Node **ret, bool *ret_is_atom)
{
    Node *look = NULL;
    *ret_is_atom = true;
    if (take(in, "?")) {
        static const struct {
            const char *mark;
            bool is_behind;
            bool is_negated;
        } looks[] = {{"=", 0, 0}, {"!", 0, 1}, {"<=", 1, 0}, {"<!", 1, 1}};
        for (size_t i = 0; i < ARRAY_LEN(looks) && look == NULL; i++) {
            if (take(in, looks[i].mark)) {
                look = new_node(in, NODE_LOOK);
                look->is_behind = looks[i].is_behind;
                look->is_negated = looks[i].is_negated;
                *ret_is_atom = false;
            }
        }
        if (look == NULL && take(in, "<")) {
            in->groups++;
            if (name_group(in) != STATUS_OK) {
                return STATUS_FAIL;
            }
        } else if (look == NULL && !take(in, ":")) {
            return fail(in, "there is no such group");
        }
    } else {
        in->groups++;
    }
    Node *inside = NULL;
    if (parse_choice(in, &inside) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!take(in, ")")) {
        return fail(in, "a parenthesis is not closed");
    }
    if (look != NULL) {
        look->first = inside;
    }
    *ret = look != NULL ? look : inside;
    return STATUS_OK;
}

static Status parse_reference(Parser *in, Node **ret)
{
    uint32_t number;
    *ret = new_node(in, NODE_REFERENCE);
    if (take(in, "k<")) {
        Str name;
        if (parse_name(in, &name) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (in->wanted_count == ARRAY_LEN(in->wanted)) {
            return fail(in, "there are too many references");
        }
        in->wanted[in->wanted_count++] = name;
        return STATUS_OK;
    }
    if (!take_number(in, &number)) {
        return fail(in, "there is no such escape");
    }
    in->reference_max = MAX(in->reference_max, number);
    return STATUS_OK;
}

// Behind the backslash, outside of a class.
static Status parse_escape(Parser *in, Node **ret)
{
    Node *node = new_node(in, NODE_CLASS);
    Status status = parse_class_escape(in, &node->class);
    if (status == STATUS_OK) {
        class_finish(&node->class);
        *ret = node;
        return STATUS_OK;
    }
    uint32_t point;
    status = status == STATUS_AGAIN ? parse_character_escape(in, &point) : status;
    if (status == STATUS_OK) {
        *ret = character_node(in, point);
        return STATUS_OK;
    }
    return status == STATUS_AGAIN ? parse_reference(in, ret) : status;
}

// ---------------------------------------------------------------------------------------------
// Terms
// ---------------------------------------------------------------------------------------------

static Status parse_atom(Parser *in, Node **ret, bool *ret_is_atom)
{
    *ret_is_atom = true;
    switch (peek(in)) {
    case '(':
        in->at++;
        return parse_group(in, ret, ret_is_atom);
    case '[':
        in->at++;
        return parse_class(in, ret);
    case '.':
        in->at++;
        *ret = any_node(in);
        return STATUS_OK;
    case '^':
    case '$':
        *ret = new_node(in, take(in, "^") ? NODE_BEGIN : NODE_END);
        in->at += (*ret)->kind == NODE_END;
        *ret_is_atom = false;
        return STATUS_OK;
    case '\\':
        in->at++;
        if (peek(in) == 'b' || peek(in) == 'B') {
            *ret = new_node(in, take(in, "b") ? NODE_BOUNDARY : NODE_NO_BOUNDARY);
            in->at += (*ret)->kind == NODE_NO_BOUNDARY;
            *ret_is_atom = false;
            return STATUS_OK;
        }
        return parse_escape(in, ret);
    case '*':
    case '+':
    case '?':
    case '{':
    case '}':
    case ']':
        return fail(in, "this character needs a backslash here");
    default:
        *ret = character_node(in, take_character(in));
        return STATUS_OK;
    }
}

// Behind the brace.
static Status parse_counts(Parser *in, uint32_t *ret_min, uint32_t *ret_max)
{
    if (!take_number(in, ret_min)) {
        return fail(in, "the repetition has no number");
    }
    *ret_max = *ret_min;
    if (take(in, ",") && !take_number(in, ret_max)) {
        *ret_max = REPEAT_ENDLESS;
    }
    if (!take(in, "}")) {
        return fail(in, "the repetition does not end");
    }
    return *ret_min <= *ret_max ? STATUS_OK : fail(in, "the repetition's numbers are out of order");
}

static Status parse_term(Parser *in, Node **ret)
{
    Node *atom = NULL;
    bool is_atom;
    if (parse_atom(in, &atom, &is_atom) != STATUS_OK) {
        return STATUS_FAIL;
    }
    uint32_t min = 0;
    uint32_t max = REPEAT_ENDLESS;
    size_t before = in->at;
    if (take(in, "+")) {
        min = 1;
    } else if (take(in, "?")) {
        max = 1;
    } else if (take(in, "{")) {
        if (parse_counts(in, &min, &max) != STATUS_OK) {
            return STATUS_FAIL;
        }
    } else if (!take(in, "*")) {
        *ret = atom;
        return STATUS_OK;
    }
    if (!is_atom) {
        in->at = before;
        return fail(in, "there is nothing to repeat");
    }
    (void)take(in, "?"); // how much is taken first makes no difference to whether there is a match
    *ret = new_node(in, NODE_REPEAT);
    (*ret)->first = atom;
    (*ret)->min = min;
    (*ret)->max = max;
    return STATUS_OK;
}

static Status parse_sequence(Parser *in, Node **ret)
{
    Node *sequence = new_node(in, NODE_SEQUENCE);
    while (!at_end(in) && peek(in) != '|' && peek(in) != ')') {
        Node *term = NULL;
        if (parse_term(in, &term) != STATUS_OK) {
            return STATUS_FAIL;
        }
        append(sequence, term);
    }
    *ret = sequence;
    return STATUS_OK;
}

static Status parse_choice(Parser *in, Node **ret)
{
    if (++in->depth > DEPTH_MAX) {
        return fail(in, "groups are nested too deeply");
    }
    Node *choice = new_node(in, NODE_CHOICE);
    do {
        Node *sequence = NULL;
        if (parse_sequence(in, &sequence) != STATUS_OK) {
            return STATUS_FAIL;
        }
        append(choice, sequence);
    } while (take(in, "|"));
    in->depth--;
    *ret = choice;
    return STATUS_OK;
}

static Status check_references(Parser *in)
{
    if (in->reference_max > in->groups) {
        return fail(in, "it refers to a group that it does not have");
    }
    for (size_t i = 0; i < in->wanted_count; i++) {
        bool found = false;
        for (size_t name = 0; name < in->name_count; name++) {
            found = found || str_equal(in->names[name], in->wanted[i]);
        }
        if (!found) {
            return fail(in, "it refers to a group that it does not have");
        }
    }
    return STATUS_OK;
}

Status regex_parse(Arena *arena, Str pattern, Node **ret, Error *err)
{
    Parser in = {.arena = arena, .pattern = pattern, .err = err};
    in.pattern.ptr = pattern.ptr == NULL ? "" : pattern.ptr;
    if (pattern.len > REGEX_PATTERN_BYTES) {
        return error_set(err, ERROR_CONFIG, "a pattern of %zu bytes is longer than %d", pattern.len,
                         REGEX_PATTERN_BYTES);
    }
    if (!utf8_is_valid(pattern)) {
        return error_set(err, ERROR_CONFIG, "the pattern is not UTF-8");
    }
    Node *root = NULL;
    if (parse_choice(&in, &root) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!at_end(&in)) {
        return fail(&in, "a parenthesis is closed that was not opened");
    }
    if (check_references(&in) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = root;
    return STATUS_OK;
}
