#include "hub/stripe_signature.h"

#include "base/buf.h"
#include "base/hmac.h"

// More than Stripe sends; each is compared with each secret.
enum { SIGNATURES_MAX = 16, BODY_MAX = 16 << 20 };

typedef struct Signatures {
    Str time; // as it is signed; ptr NULL: none
    int64_t time_s;
    Hmac digests[SIGNATURES_MAX];
    size_t count;
} Signatures;

// What is no digest is the signature of nothing.
static void add_signature(Signatures *found, Str text)
{
    if (found->count < SIGNATURES_MAX && hmac_from_hex(text, &found->digests[found->count])) {
        found->count++;
    }
}

static Status read_header(Str header, Signatures *ret, Error *err)
{
    *ret = (Signatures){0};
    Str item;
    while (str_split(&header, ',', &item)) {
        Str name = {0};
        Str value = str_trim(item);
        (void)str_split(&value, '=', &name);
        if (str_is(name, "t") && ret->time.ptr == NULL && str_to_int64(value, &ret->time_s)) {
            ret->time = value;
        } else if (str_is(name, "v1") && value.ptr != NULL) {
            add_signature(ret, value);
        }
    }
    if (ret->time.ptr == NULL) {
        return error_set(err, ERROR_DATA, "the signature says no time");
    }
    return ret->count > 0 ? STATUS_OK
                          : error_set(err, ERROR_DATA, "there is no signature of the scheme v1");
}

Status stripe_signature_check(Str header, Str body, const StrList *secrets, int64_t now_s,
                              Error *err)
{
    Signatures found;
    if (read_header(header, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CLEANUP(buf_done) Buf message;
    buf_init(&message, BODY_MAX);
    buf_str(&message, found.time);
    buf_char(&message, '.');
    buf_str(&message, body);
    if (buf_check(&message, "the request", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_signed = hmac_is_signed(found.digests, found.count, secrets->items, secrets->count,
                                    buf_view(&message));
    if (!is_signed) {
        error_set(err, ERROR_DATA, "it is not signed by a secret of this endpoint");
        return error_hint(err, "endpoint_secret has to be what Stripe shows for this webhook.");
    }
    // What is signed for later is not forged: a clock is wrong. An event that is said again is seen
    // to be one by its id.
    if (found.time_s < now_s - STRIPE_SIGNATURE_TOLERANCE_S) {
        error_set(err, ERROR_DATA, "it was signed more than five minutes ago");
        return error_hint(err, "If Stripe did send it now, this machine's clock is wrong.");
    }
    return STATUS_OK;
}
