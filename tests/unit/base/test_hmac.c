#include "base/hmac.h"
#include "unit.h"

static const char *hex(const Hmac *digest)
{
    static Buf out;
    buf_done(&out);
    buf_init(&out, 100);
    hmac_to_hex(&out, digest);
    return buf_cstring(&out);
}

// RFC 4231, 4.3 (test case 2), and a key that is longer than a block, 4.7 (6). FIPS 180's "abc".
static void known_digests(void **context)
{
    (void)context;
    Hmac digest;
    char key[131];
    memset(key, 0xaa, sizeof(key));
    assert_true(hmac_sign(STR("Jefe"), STR("what do ya want for nothing?"), &digest));
    assert_string_equal(hex(&digest),
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_true(hmac_sign((Str){key, sizeof(key)},
                          STR("Test Using Larger Than Block-Size Key - Hash Key First"), &digest));
    assert_string_equal(hex(&digest),
                        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    digest = sha256(STR("abc"));
    assert_string_equal(hex(&digest),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_false(hmac_sign(STR(""), STR("x"), &digest));
}

static void any_key_and_any_digest(void **context)
{
    (void)context;
    const Str keys[] = {STR("one"), STR(""), STR("two")};
    Hmac digests[2];
    assert_true(hmac_sign(STR("two"), STR("text"), &digests[1]));
    assert_true(hmac_sign(STR("other"), STR("text"), &digests[0]));
    assert_true(hmac_is_signed(digests, 2, keys, 3, STR("text")));
    assert_false(hmac_is_signed(digests, 2, keys, 3, STR("texT")));
    assert_false(hmac_is_signed(digests, 1, keys, 3, STR("text")));
    assert_false(hmac_is_signed(digests, 2, keys, 2, STR("text")));
    for (size_t bit = 0; bit < (size_t)8 * HMAC_SIZE; bit++) {
        Hmac other = digests[1];
        other.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_false(hmac_is_signed(&other, 1, keys, 3, STR("text")));
    }
}

static void hexadecimal(void **context)
{
    (void)context;
    Hmac digest;
    Hmac same;
    assert_true(hmac_sign(STR("k"), STR("t"), &digest));
    Str text = str_from(hex(&digest));
    assert_true(hmac_from_hex(text, &same));
    assert_memory_equal(same.bytes, digest.bytes, HMAC_SIZE);
    assert_false(hmac_from_hex((Str){text.ptr, text.len - 1}, &same));
    assert_false(hmac_from_hex(
        STR("x0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"), &same));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_digests),
        cmocka_unit_test(any_key_and_any_digest),
        cmocka_unit_test(hexadecimal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
