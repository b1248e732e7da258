#include "sinks/duckdb_parse.h"

#define MICROS_PER_SECOND INT64_C(1000000)
#define MICROS_PER_DAY    (86400 * MICROS_PER_SECOND)

// DuckDB's special values: the largest number and its negative are the infinities.
#define DATE_INFINITY      INT32_MAX
#define TIMESTAMP_INFINITY INT64_MAX

// Offsets of time zones lie strictly within sixteen hours, in Postgres as in DuckDB, which stores
// how far they are west of the easternmost one.
enum { TIMETZ_OFFSET_MAX = 16 * 3600 - 1, TIMETZ_OFFSET_BITS = 24 };

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
    if (!digits(in, 4, 7, &year) || !accept(in, '-') || !digits(in, 2, 2, &month) ||
        !accept(in, '-') || !digits(in, 2, 2, &day) || year == 0) {
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
    if (!digits(in, 2, 2, &hour) || !accept(in, ':') || !digits(in, 2, 2, &minute) ||
        !accept(in, ':') || !digits(in, 2, 2, &second) || !fraction(in, &micros) || minute > 59 ||
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
    bool west = accept(in, '-');
    if ((!west && !accept(in, '+')) || !digits(in, 2, 2, &hour) ||
        (accept(in, ':') && !digits(in, 2, 2, &minute)) ||
        (accept(in, ':') && !digits(in, 2, 2, &second)) || minute > 59 || second > 59) {
        return false;
    }
    int64_t total = (hour * 60 + minute) * 60 + second;
    if (total > TIMETZ_OFFSET_MAX) {
        return false;
    }
    *ret_seconds = west ? -total : total;
    return true;
}

// 1, -1 or 0: "infinity", "-infinity" or neither.
static int infinity_of(Str text)
{
    if (text.len < 8 || ascii_is_digit(text.ptr[1])) {
        return 0;
    }
    return str_is(text, "infinity") ? 1 : str_is(text, "-infinity") ? -1 : 0;
}

static DuckParse parse_date(Str text, int32_t *ret)
{
    int sign = infinity_of(text);
    if (sign != 0) {
        *ret = sign * DATE_INFINITY;
        return DUCK_PARSE_OK;
    }
    Cursor in = cursor_of(text);
    int64_t days;
    if (!date_part(&in, &days) || !at_end(&in)) {
        return DUCK_PARSE_SYNTAX;
    }
    if (days >= DATE_INFINITY || days <= -DATE_INFINITY) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    *ret = (int32_t)days;
    return DUCK_PARSE_OK;
}

static DuckParse parse_time(Str text, int64_t *ret)
{
    Cursor in = cursor_of(text);
    int64_t micros;
    if (!time_part(&in, &micros) || !at_end(&in)) {
        return DUCK_PARSE_SYNTAX;
    }
    *ret = micros;
    return DUCK_PARSE_OK;
}

static DuckParse parse_timetz(Str text, uint64_t *ret)
{
    Cursor in = cursor_of(text);
    int64_t micros;
    int64_t offset;
    if (!time_part(&in, &micros) || !offset_part(&in, &offset) || !at_end(&in)) {
        return DUCK_PARSE_SYNTAX;
    }
    *ret = (uint64_t)micros << TIMETZ_OFFSET_BITS | (uint64_t)(TIMETZ_OFFSET_MAX - offset);
    return DUCK_PARSE_OK;
}

static DuckParse parse_timestamp(Str text, bool with_zone, int64_t *ret)
{
    int sign = infinity_of(text);
    if (sign != 0) {
        *ret = sign * TIMESTAMP_INFINITY;
        return DUCK_PARSE_OK;
    }
    Cursor in = cursor_of(text);
    int64_t days;
    int64_t micros;
    int64_t offset = 0;
    if (!date_part(&in, &days) || !accept(&in, ' ') || !time_part(&in, &micros) ||
        (with_zone && !offset_part(&in, &offset)) || !at_end(&in)) {
        return DUCK_PARSE_SYNTAX;
    }
    int64_t total;
    micros -= offset * MICROS_PER_SECOND;
    if (__builtin_mul_overflow(days, MICROS_PER_DAY, &total) ||
        __builtin_add_overflow(total, micros, &total) || total >= TIMESTAMP_INFINITY ||
        total <= -TIMESTAMP_INFINITY) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    *ret = total;
    return DUCK_PARSE_OK;
}

// "-04:05:06.789" at the end of an interval: hours without a limit of their own.
static bool interval_time(Cursor *in, DuckInterval *interval)
{
    int64_t hours;
    int64_t minutes;
    int64_t seconds;
    int64_t micros;
    bool negative = sign(in);
    if (!digits(in, 2, 10, &hours) || !accept(in, ':') || !digits(in, 2, 2, &minutes) ||
        !accept(in, ':') || !digits(in, 2, 2, &seconds) || !fraction(in, &micros) || !at_end(in)) {
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
static bool interval_unit(Cursor *in, int64_t count, DuckInterval *interval)
{
    static const struct {
        Str name;
        int months;
        int days;
    } units[] = {{STR("years"), 12, 0}, {STR("year"), 12, 0}, {STR("mons"), 1, 0},
                 {STR("mon"), 1, 0},    {STR("days"), 0, 1},  {STR("day"), 0, 1}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (!accept_text(in, units[i].name)) {
            continue;
        }
        int64_t months = interval->months + count * units[i].months;
        int64_t days = interval->days + count * units[i].days;
        if (months < INT32_MIN || months > INT32_MAX || days < INT32_MIN || days > INT32_MAX) {
            return false;
        }
        interval->months = (int32_t)months;
        interval->days = (int32_t)days;
        return at_end(in) || (accept(in, ' ') && !at_end(in));
    }
    return false;
}

// "1 year 2 mons -3 days +04:05:06.789": what IntervalStyle postgres writes.
static DuckParse parse_interval(Str text, DuckInterval *ret)
{
    if (infinity_of(text) != 0) {
        return DUCK_PARSE_CANNOT_HOLD;
    }
    Cursor in = cursor_of(text);
    DuckInterval interval = {0};
    bool done = at_end(&in);
    if (done) {
        return DUCK_PARSE_SYNTAX;
    }
    while (!done) {
        Cursor word = in;
        bool negative = sign(&word);
        int64_t count;
        if (!digits(&word, 1, 10, &count) || !accept(&word, ' ')) {
            if (!interval_time(&in, &interval)) {
                return DUCK_PARSE_SYNTAX;
            }
            break;
        }
        in = word;
        if (!interval_unit(&in, negative ? -count : count, &interval)) {
            return DUCK_PARSE_SYNTAX;
        }
        done = at_end(&in);
    }
    *ret = interval;
    return DUCK_PARSE_OK;
}

DuckParse duck_parse_time(DuckType type, Str text, void *ret_cell)
{
    switch (type.kind) {
    case DUCK_DATE:
        return parse_date(text, ret_cell);
    case DUCK_TIME:
        return parse_time(text, ret_cell);
    case DUCK_TIMETZ:
        return parse_timetz(text, ret_cell);
    case DUCK_INTERVAL:
        return parse_interval(text, ret_cell);
    default:
        return parse_timestamp(text, type.kind == DUCK_TIMESTAMPTZ, ret_cell);
    }
}
