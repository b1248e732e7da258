#include "model/unicode.h"

#include <assert.h>

const UnicodeRange *unicode_find(uint32_t point)
{
    assert(point <= UNICODE_LAST);
    size_t low = 0;
    size_t high = unicode_range_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (unicode_ranges[middle].start <= point) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &unicode_ranges[low];
}

#define CATEGORY(name) (UINT32_C(1) << CATEGORY_##name)
#define CASED          (CATEGORY(LU) | CATEGORY(LL) | CATEGORY(LT))
#define LETTER         (CASED | CATEGORY(LM) | CATEGORY(LO))
#define MARK           (CATEGORY(MN) | CATEGORY(MC) | CATEGORY(ME))
#define NUMBER         (CATEGORY(ND) | CATEGORY(NL) | CATEGORY(NO))
#define BRACKET        (CATEGORY(PS) | CATEGORY(PE) | CATEGORY(PI) | CATEGORY(PF))
#define PUNCTUATION    (CATEGORY(PC) | CATEGORY(PD) | BRACKET | CATEGORY(PO))
#define SYMBOL         (CATEGORY(SM) | CATEGORY(SC) | CATEGORY(SK) | CATEGORY(SO))
#define SEPARATOR      (CATEGORY(ZS) | CATEGORY(ZL) | CATEGORY(ZP))
#define ASSIGNED_OTHER (CATEGORY(CC) | CATEGORY(CF) | CATEGORY(CS) | CATEGORY(CO))
#define ASSIGNED       (LETTER | MARK | NUMBER | PUNCTUATION | SYMBOL | SEPARATOR | ASSIGNED_OTHER)

// The names of the standard's PropertyValueAliases.txt that ECMA-262 has in its table 67.
static const struct {
    const char *name;
    const char *long_name;
    uint32_t categories;
} category_names[] = {
    {"L", "Letter", LETTER},
    {"LC", "Cased_Letter", CASED},
    {"Lu", "Uppercase_Letter", CATEGORY(LU)},
    {"Ll", "Lowercase_Letter", CATEGORY(LL)},
    {"Lt", "Titlecase_Letter", CATEGORY(LT)},
    {"Lm", "Modifier_Letter", CATEGORY(LM)},
    {"Lo", "Other_Letter", CATEGORY(LO)},
    {"M", "Mark", MARK},
    {"Combining_Mark", "Combining_Mark", MARK},
    {"Mn", "Nonspacing_Mark", CATEGORY(MN)},
    {"Mc", "Spacing_Mark", CATEGORY(MC)},
    {"Me", "Enclosing_Mark", CATEGORY(ME)},
    {"N", "Number", NUMBER},
    {"Nd", "Decimal_Number", CATEGORY(ND)},
    {"digit", "digit", CATEGORY(ND)},
    {"Nl", "Letter_Number", CATEGORY(NL)},
    {"No", "Other_Number", CATEGORY(NO)},
    {"P", "Punctuation", PUNCTUATION},
    {"punct", "punct", PUNCTUATION},
    {"Pc", "Connector_Punctuation", CATEGORY(PC)},
    {"Pd", "Dash_Punctuation", CATEGORY(PD)},
    {"Ps", "Open_Punctuation", CATEGORY(PS)},
    {"Pe", "Close_Punctuation", CATEGORY(PE)},
    {"Pi", "Initial_Punctuation", CATEGORY(PI)},
    {"Pf", "Final_Punctuation", CATEGORY(PF)},
    {"Po", "Other_Punctuation", CATEGORY(PO)},
    {"S", "Symbol", SYMBOL},
    {"Sm", "Math_Symbol", CATEGORY(SM)},
    {"Sc", "Currency_Symbol", CATEGORY(SC)},
    {"Sk", "Modifier_Symbol", CATEGORY(SK)},
    {"So", "Other_Symbol", CATEGORY(SO)},
    {"Z", "Separator", SEPARATOR},
    {"Zs", "Space_Separator", CATEGORY(ZS)},
    {"Zl", "Line_Separator", CATEGORY(ZL)},
    {"Zp", "Paragraph_Separator", CATEGORY(ZP)},
    {"C", "Other", ASSIGNED_OTHER | CATEGORY(CN)},
    {"Cc", "Control", CATEGORY(CC)},
    {"cntrl", "cntrl", CATEGORY(CC)},
    {"Cf", "Format", CATEGORY(CF)},
    {"Cs", "Surrogate", CATEGORY(CS)},
    {"Co", "Private_Use", CATEGORY(CO)},
    {"Cn", "Unassigned", CATEGORY(CN)},
    {"Any", "Any", ASSIGNED | CATEGORY(CN)},
    {"Assigned", "Assigned", ASSIGNED},
};

uint32_t unicode_categories(Str name)
{
    for (size_t i = 0; i < ARRAY_LEN(category_names); i++) {
        if (str_is(name, category_names[i].name) || str_is(name, category_names[i].long_name)) {
            return category_names[i].categories;
        }
    }
    return 0;
}
