#include "change/time_text.h"

// Days from 1970-01-01 in the proleptic Gregorian calendar. Years count from March, so that a leap
// day is the last of its year, in eras of 400 years, which are all alike.
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    enum { DAYS_PER_ERA = 146097, DAYS_TO_1970 = 719468 };
    year -= month <= 2 ? 1 : 0;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool is_date(int64_t year, int64_t month, int64_t day)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month < 1 || month > 12 || day < 1) {
        return false;
    }
    return day <= days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

// "2026-11-21" with " BC" at the very end of the text, which is taken off. Year 1 BC is year 0.
static bool date_part(Cursor *in, int64_t *ret_days)
{
    int64_t year;
    int64_t month;
    int64_t day;
    bool before_christ = in->end - in->at > 3 && memcmp(in->end - 3, " BC", 3) == 0;
    in->end -= before_christ ? 3 : 0;
    if (!cursor_digits(in, 4, 7, &year) || !cursor_accept(in, '-') ||
        !cursor_digits(in, 2, 2, &month) || !cursor_accept(in, '-') ||
        !cursor_digits(in, 2, 2, &day) || year == 0) {
        return false;
    }
    year = before_christ ? 1 - year : year;
    if (!is_date(year, month, day)) {
        return false;
    }
    *ret_days = days_of(year, month, day);
    return true;
}

// "23:59:59.999999", up to "24:00:00".
static bool time_part(Cursor *in, int64_t *ret_micros)
{
    int64_t hour;
    int64_t minute;
    int64_t second;
    int64_t micros;
    if (!cursor_digits(in, 2, 2, &hour) || !cursor_accept(in, ':') ||
        !cursor_digits(in, 2, 2, &minute) || !cursor_accept(in, ':') ||
        !cursor_digits(in, 2, 2, &second) || !cursor_fraction(in, &micros) || minute > 59 ||
        second > 59) {
        return false;
    }
    int64_t total = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros;
    if (total > MICROS_PER_DAY) {
        return false;
    }
    *ret_micros = total;
    return true;
}

// "+02", "-03:30", "+00:19:32": seconds east of Greenwich.
static bool offset_part(Cursor *in, int64_t *ret_seconds)
{
    int64_t hour;
    int64_t minute = 0;
    int64_t second = 0;
    bool west = cursor_accept(in, '-');
    if ((!west && !cursor_accept(in, '+')) || !cursor_digits(in, 2, 2, &hour) ||
        (cursor_accept(in, ':') && !cursor_digits(in, 2, 2, &minute)) ||
        (cursor_accept(in, ':') && !cursor_digits(in, 2, 2, &second)) || minute > 59 ||
        second > 59) {
        return false;
    }
    int64_t total = (hour * 60 + minute) * 60 + second;
    if (total > TIMETZ_OFFSET_MAX) {
        return false;
    }
    *ret_seconds = west ? -total : total;
    return true;
}

int time_text_infinity(Str text)
{
    if (text.len < 8 || ascii_is_digit(text.ptr[1])) {
        return 0;
    }
    return str_is(text, "infinity") ? 1 : str_is(text, "-infinity") ? -1 : 0;
}

bool time_text_date(Str text, int64_t *ret_days)
{
    Cursor in = cursor_of(text);
    return date_part(&in, ret_days) && cursor_at_end(&in);
}

bool time_text_time(Str text, int64_t *ret_micros)
{
    Cursor in = cursor_of(text);
    return time_part(&in, ret_micros) && cursor_at_end(&in);
}

bool time_text_timetz(Str text, int64_t *ret_micros, int64_t *ret_offset)
{
    Cursor in = cursor_of(text);
    return time_part(&in, ret_micros) && offset_part(&in, ret_offset) && cursor_at_end(&in);
}

bool time_text_timestamp(Str text, bool with_zone, int64_t *ret_days, int64_t *ret_micros)
{
    Cursor in = cursor_of(text);
    int64_t micros;
    int64_t offset = 0;
    if (!date_part(&in, ret_days) || !cursor_accept(&in, ' ') || !time_part(&in, &micros) ||
        (with_zone && !offset_part(&in, &offset)) || !cursor_at_end(&in)) {
        return false;
    }
    *ret_micros = micros - offset * MICROS_PER_SECOND;
    return true;
}

// "-04:05:06.789" at the end of an interval: hours without a limit of their own.
static bool interval_time(Cursor *in, Interval *interval)
{
    int64_t hours;
    int64_t minutes;
    int64_t seconds;
    int64_t micros;
    bool negative = cursor_sign(in);
    if (!cursor_digits(in, 2, 10, &hours) || !cursor_accept(in, ':') ||
        !cursor_digits(in, 2, 2, &minutes) || !cursor_accept(in, ':') ||
        !cursor_digits(in, 2, 2, &seconds) || !cursor_fraction(in, &micros) || !cursor_at_end(in)) {
        return false;
    }
    // Negative throughout: INT64_MIN has no positive counterpart.
    int64_t total;
    if (__builtin_mul_overflow(hours, -3600 * MICROS_PER_SECOND, &total) ||
        __builtin_sub_overflow(total, (minutes * 60 + seconds) * MICROS_PER_SECOND + micros,
                               &total) ||
        (!negative && total == INT64_MIN)) {
        return false;
    }
    interval->micros = negative ? total : -total;
    return true;
}

// "3 mons": a number and what it counts.
static bool interval_unit(Cursor *in, int64_t count, Interval *interval)
{
    static const struct {
        Str name;
        int months;
        int days;
    } units[] = {{STR("years"), 12, 0}, {STR("year"), 12, 0}, {STR("mons"), 1, 0},
                 {STR("mon"), 1, 0},    {STR("days"), 0, 1},  {STR("day"), 0, 1}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!cursor_accept_text(in, units[i].name)) {
            continue;
        }
        int64_t months = interval->months + count * units[i].months;
        int64_t days = interval->days + count * units[i].days;
        if (months < INT32_MIN || months > INT32_MAX || days < INT32_MIN || days > INT32_MAX) {
            return false;
        }
        interval->months = (int32_t)months;
        interval->days = (int32_t)days;
        return cursor_at_end(in) || (cursor_accept(in, ' ') && !cursor_at_end(in));
    }
    return false;
}

// "1 year 2 mons -3 days +04:05:06.789": what IntervalStyle postgres writes.
bool time_text_interval(Str text, Interval *ret)
{
    Cursor in = cursor_of(text);
    Interval interval = {0};
    bool done = cursor_at_end(&in);
    if (done) {
        return false;
    }
    while (!done) {
        Cursor word = in;
        bool negative = cursor_sign(&word);
        int64_t count;
        if (!cursor_digits(&word, 1, 10, &count) || !cursor_accept(&word, ' ')) {
            if (!interval_time(&in, &interval)) {
                return false;
            }
            break;
        }
        in = word;
        if (!interval_unit(&in, negative ? -count : count, &interval)) {
            return false;
        }
        done = cursor_at_end(&in);
    }
    *ret = interval;
    return true;
}
