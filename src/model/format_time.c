// Dates, times and durations of RFC 3339.
#include "base/ascii.h"
#include "model/format.h"

// @count digits, cut off @text.
static bool take_number(Str *text, size_t count, int *ret)
{
    if (text->len < count) {
        return false;
    }
    int value = 0;
    for (size_t i = 0; i < count; i++) {
        if (!ascii_is_digit(text->ptr[i])) {
            return false;
        }
        value = value * 10 + (text->ptr[i] - '0');
    }
    *text = (Str){text->ptr + count, text->len - count};
    *ret = value;
    return true;
}

static bool take(Str *text, const char *any_of)
{
    if (text->len == 0 || text->ptr[0] == '\0' || strchr(any_of, text->ptr[0]) == NULL) {
        return false;
    }
    *text = (Str){text->ptr + 1, text->len - 1};
    return true;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && is_leap);
}

static bool take_date(Str *text)
{
    int year;
    int month;
    int day;
    return take_number(text, 4, &year) && take(text, "-") && take_number(text, 2, &month) &&
           take(text, "-") && take_number(text, 2, &day) && month >= 1 && month <= 12 && day >= 1 &&
           day <= days_of(year, month);
}

// In minutes, east of UTC.
static bool take_offset(Str *text, int *ret)
{
    *ret = 0;
    if (take(text, "Zz")) {
        return true;
    }
    int sign = text->len > 0 && text->ptr[0] == '-' ? -1 : 1;
    int hours;
    int minutes;
    if (!take(text, "+-") || !take_number(text, 2, &hours) || !take(text, ":") ||
        !take_number(text, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *ret = sign * (hours * 60 + minutes);
    return true;
}

static bool take_time(Str *text)
{
    enum { DAY_MINUTES = 24 * 60 };
    int hour;
    int minute;
    int second;
    int offset;
    if (!take_number(text, 2, &hour) || !take(text, ":") || !take_number(text, 2, &minute) ||
        !take(text, ":") || !take_number(text, 2, &second)) {
        return false;
    }
    if (take(text, ".")) {
        int digit;
        if (!take_number(text, 1, &digit)) {
            return false;
        }
        while (take_number(text, 1, &digit)) {
        }
    }
    if (!take_offset(text, &offset) || hour > 23 || minute > 59 || second > 60) {
        return false;
    }
    // Leap seconds are at the end of a day of UTC.
    int in_utc = (hour * 60 + minute - offset + DAY_MINUTES) % DAY_MINUTES;
    return second < 60 || in_utc == DAY_MINUTES - 1;
}

bool format_date(Arena *scratch, Str text)
{
    return take_date(&text) && text.len == 0;
}

bool format_time(Arena *scratch, Str text)
{
    return take_time(&text) && text.len == 0;
}

bool format_date_time(Arena *scratch, Str text)
{
    return take_date(&text) && take(&text, "Tt") && take_time(&text) && text.len == 0;
}

// "1Y2M3D": numbers with those letters of @units that come one behind the other. -1: it is not
// that; otherwise how many there are.
static int take_units(Str *text, const char *units)
{
    int count = 0;
    const char *next = NULL;
    while (text->len > 0 && ascii_is_digit(text->ptr[0])) {
        int digit;
        while (take_number(text, 1, &digit)) {
        }
        const char *unit =
            text->len == 0 || text->ptr[0] == '\0' ? NULL : strchr(units, text->ptr[0]);
        if (unit == NULL || (next != NULL && unit != next)) {
            return -1;
        }
        next = unit + 1;
        *text = (Str){text->ptr + 1, text->len - 1};
        count++;
    }
    return count;
}

bool format_duration(Arena *scratch, Str text)
{
    if (!take(&text, "P")) {
        return false;
    }
    Str weeks = text;
    if (take_units(&weeks, "W") == 1 && weeks.len == 0) {
        return true;
    }
    int days = take_units(&text, "YMD");
    int times = 0;
    if (take(&text, "T")) {
        times = take_units(&text, "HMS");
        if (times == 0) {
            return false;
        }
    }
    return days >= 0 && times >= 0 && days + times > 0 && text.len == 0;
}
