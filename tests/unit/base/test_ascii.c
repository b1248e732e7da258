// Every byte, against what the C library says in the locale "C".
#include <ctype.h>
#include <locale.h>

#include "base/ascii.h"
#include "unit.h"

static void each_byte_is_what_it_is(void **context)
{
    (void)context;
    assert_string_equal(setlocale(LC_ALL, NULL), "C");
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        assert_int_equal(ascii_is_digit(c), isdigit(byte) != 0);
        assert_int_equal(ascii_is_lower(c), islower(byte) != 0);
        assert_int_equal(ascii_is_upper(c), isupper(byte) != 0);
        assert_int_equal(ascii_is_letter(c), isalpha(byte) != 0);
        assert_int_equal(ascii_is_alphanumeric(c), isalnum(byte) != 0);
        assert_int_equal(ascii_is_hex(c), isxdigit(byte) != 0);
        assert_int_equal(ascii_is_space(c), isspace(byte) != 0 && byte != '\v' && byte != '\f');
        assert_int_equal((unsigned char)ascii_to_lower(c), tolower(byte));
    }
}

static void hexadecimal_digits_have_values(void **context)
{
    (void)context;
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    for (int i = 0; i < 32; i++) {
        assert_int_equal(ascii_hex_value(digits[i]), i % 16);
    }
    assert_int_equal(ascii_hex_value('g'), -1);
    assert_int_equal(ascii_hex_value('\0'), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_is_what_it_is),
        cmocka_unit_test(hexadecimal_digits_have_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
