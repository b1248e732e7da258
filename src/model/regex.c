#include "model/regex.h"

#include <assert.h>

#include "base/ascii.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/regex_inside.h"

enum { LOOKS_MAX = 64, EMITS_MAX = 1000000 };

typedef enum RegexOp {
    REGEX_CHARACTER, // x: the code point
    REGEX_CLASS,     // x: which class
    REGEX_MATCH,
    REGEX_JUMP,  // x: where to
    REGEX_SPLIT, // x and y
    REGEX_BEGIN,
    REGEX_END,
    REGEX_BOUNDARY,
    REGEX_NO_BOUNDARY,
    REGEX_LOOK, // x: which one
} RegexOp;

typedef struct RegexInstruction {
    RegexOp op;
    uint32_t x;
    uint32_t y;
} RegexInstruction;

typedef struct Look {
    const Node *node; // while it is compiled
    uint32_t start;
    bool is_behind;
    bool is_negated;
} Look;

struct Regex {
    RegexInstruction *code;
    const CharacterClass **classes;
    uint32_t count;
    uint32_t class_count;
    uint32_t look_count;
    bool begins_at_start;
    Look looks[LOOKS_MAX]; // what is inside of one has a larger number
};

// ---------------------------------------------------------------------------------------------
// Compiling
// ---------------------------------------------------------------------------------------------

typedef struct Compiler {
    Regex regex;
    uint32_t capacity; // of its code and classes
    size_t emits;
    const char *problem; // what is not taken; NULL: nothing
} Compiler;

static void emit_node(Compiler *out, Node *node, bool is_backwards);

// Where the instruction is. When there are too many it is the last one, and the compiler has a
// problem.
static uint32_t emit(Compiler *out, RegexOp op, uint32_t x, uint32_t y)
{
    if (out->regex.count == REGEX_PROGRAM_MAX) {
        out->problem = "is too large, its repetitions written out";
        return out->regex.count - 1;
    }
    if (out->regex.count == out->capacity) {
        out->capacity = MAX(64U, out->capacity * 2);
        out->regex.code = mem_resize(out->regex.code, out->capacity * sizeof(*out->regex.code));
        // No more classes than instructions.
        out->regex.classes = mem_resize(out->regex.classes, out->capacity * sizeof(void *));
    }
    out->regex.code[out->regex.count] = (RegexInstruction){op, x, y};
    return out->regex.count++;
}

static void emit_class(Compiler *out, const CharacterClass *class)
{
    if (class->count == 1 && class->ranges[0].from == class->ranges[0].to) {
        (void)emit(out, REGEX_CHARACTER, class->ranges[0].from, 0);
        return;
    }
    (void)emit(out, REGEX_CLASS, out->regex.class_count, 0);
    if (out->problem == NULL) {
        out->regex.classes[out->regex.class_count++] = class;
    }
}

static void emit_choice(Compiler *out, Node *node, bool is_backwards)
{
    uint32_t last_jump = UINT32_MAX; // the jumps to the end are a chain until it is known
    for (Node *each = node->first; each != NULL; each = each->next) {
        if (each->next == NULL) {
            emit_node(out, each, is_backwards);
            break;
        }
        uint32_t split = emit(out, REGEX_SPLIT, 0, 0);
        out->regex.code[split].x = out->regex.count;
        emit_node(out, each, is_backwards);
        last_jump = emit(out, REGEX_JUMP, last_jump, 0);
        out->regex.code[split].y = out->regex.count;
        if (out->problem != NULL) {
            return;
        }
    }
    while (last_jump != UINT32_MAX && out->problem == NULL) {
        uint32_t before = out->regex.code[last_jump].x;
        out->regex.code[last_jump].x = out->regex.count;
        last_jump = before;
    }
}

static void emit_repeat(Compiler *out, Node *node, bool is_backwards)
{
    for (uint32_t i = 0; i < node->min && out->problem == NULL; i++) {
        emit_node(out, node->first, is_backwards);
    }
    if (node->max == REPEAT_ENDLESS) {
        uint32_t split = emit(out, REGEX_SPLIT, 0, 0);
        out->regex.code[split].x = out->regex.count;
        emit_node(out, node->first, is_backwards);
        (void)emit(out, REGEX_JUMP, split, 0);
        out->regex.code[split].y = out->regex.count;
        return;
    }
    uint32_t last_split = UINT32_MAX;
    for (uint32_t i = node->min; i < node->max && out->problem == NULL; i++) {
        last_split = emit(out, REGEX_SPLIT, 0, last_split);
        out->regex.code[last_split].x = out->regex.count;
        emit_node(out, node->first, is_backwards);
    }
    while (last_split != UINT32_MAX && out->problem == NULL) {
        uint32_t before = out->regex.code[last_split].y;
        out->regex.code[last_split].y = out->regex.count;
        last_split = before;
    }
}

static void emit_look(Compiler *out, Node *node)
{
    if (node->look == 0) {
        if (out->regex.look_count == LOOKS_MAX) {
            out->problem = "has too many lookarounds";
            return;
        }
        out->regex.looks[out->regex.look_count++] =
            (Look){.node = node, .is_behind = node->is_behind, .is_negated = node->is_negated};
        node->look = out->regex.look_count;
    }
    (void)emit(out, REGEX_LOOK, node->look - 1, 0);
}

static void emit_node(Compiler *out, Node *node, bool is_backwards)
{
    if (out->problem != NULL) {
        return;
    }
    if (++out->emits > EMITS_MAX) {
        out->problem = "is too large, its repetitions written out";
        return;
    }
    switch (node->kind) {
    case NODE_CLASS:
        emit_class(out, &node->class);
        break;
    case NODE_SEQUENCE:
        for (Node *each = is_backwards ? node->last : node->first; each != NULL;
             each = is_backwards ? each->before : each->next) {
            emit_node(out, each, is_backwards);
        }
        break;
    case NODE_CHOICE:
        emit_choice(out, node, is_backwards);
        break;
    case NODE_REPEAT:
        emit_repeat(out, node, is_backwards);
        break;
    case NODE_BEGIN:
        (void)emit(out, REGEX_BEGIN, 0, 0);
        break;
    case NODE_END:
        (void)emit(out, REGEX_END, 0, 0);
        break;
    case NODE_BOUNDARY:
        (void)emit(out, REGEX_BOUNDARY, 0, 0);
        break;
    case NODE_NO_BOUNDARY:
        (void)emit(out, REGEX_NO_BOUNDARY, 0, 0);
        break;
    case NODE_LOOK:
        emit_look(out, node);
        break;
    case NODE_REFERENCE:
        out->problem = "refers back to a group, which takes time without a limit to match";
        break;
    }
}

static bool begins_at_start(const Node *node)
{
    if (node->kind == NODE_BEGIN) {
        return true;
    }
    if (node->kind == NODE_SEQUENCE) {
        return node->first != NULL && begins_at_start(node->first);
    }
    if (node->kind != NODE_CHOICE) {
        return false;
    }
    for (const Node *each = node->first; each != NULL; each = each->next) {
        if (!begins_at_start(each)) {
            return false;
        }
    }
    return true;
}

static void emit_all(Compiler *out, Node *root)
{
    emit_node(out, root, false);
    (void)emit(out, REGEX_MATCH, 0, 0);
    // Bodies may add further ones to the list.
    for (uint32_t i = 0; i < out->regex.look_count && out->problem == NULL; i++) {
        Look *look = &out->regex.looks[i];
        look->start = out->regex.count;
        emit_node(out, look->node->first, !look->is_behind);
        (void)emit(out, REGEX_MATCH, 0, 0);
        look->node = NULL;
    }
    out->regex.begins_at_start = begins_at_start(root);
}

Status regex_compile(Arena *arena, Str pattern, const Regex **ret, Error *err)
{
    Node *root;
    if (regex_parse(arena, pattern, &root, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Compiler out = {0};
    emit_all(&out, root);
    if (out.problem == NULL) {
        Regex *regex = arena_alloc(arena, sizeof(*regex));
        *regex = out.regex;
        regex->code = ARENA_ARRAY(arena, RegexInstruction, out.regex.count);
        memcpy(regex->code, out.regex.code, out.regex.count * sizeof(*regex->code));
        regex->classes = ARENA_ARRAY(arena, const CharacterClass *, out.regex.class_count + 1);
        memcpy(regex->classes, out.regex.classes, out.regex.class_count * sizeof(void *));
        *ret = regex;
    }
    mem_free(out.regex.code);
    mem_free(out.regex.classes);
    return out.problem == NULL ? STATUS_OK
                               : error_set(err, ERROR_CONFIG, "the pattern \"%" STR_FMT "\" %s",
                                           STR_ARG(pattern), out.problem);
}

bool regex_is_valid(Arena *scratch, Str pattern)
{
    Node *root;
    return regex_parse(scratch, pattern, &root, NULL) == STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Matching
// ---------------------------------------------------------------------------------------------

// Instructions that are reached at one place of the text.
typedef struct States {
    uint32_t *list;
    uint32_t count;
    bool has_matched;
} States;

typedef struct Matcher {
    const Regex *regex;
    Str text;
    RegexScratch *scratch;
    uint32_t *stack;
    uint64_t budget;
    uint64_t reached; // instructions, since the last place of the text
    uint64_t **looks; // one bit for each place of the text where it holds
} Matcher;

void regex_scratch_done(RegexScratch *scratch)
{
    mem_free(scratch->words);
    arena_done(&scratch->looks);
    *scratch = (RegexScratch){0};
}

// Marks of who was reached, two lists, and a stack of twice that, as each has two ways on at most.
static void reserve(RegexScratch *scratch, uint32_t count)
{
    if (scratch->capacity < count) {
        mem_free(scratch->words);
        scratch->capacity = MAX((size_t)count, (size_t)64);
        scratch->words = mem_alloc_zero((5 * scratch->capacity + 2) * sizeof(uint32_t));
        scratch->generation = 0;
    }
}

static void next_generation(RegexScratch *scratch)
{
    if (++scratch->generation == 0) {
        memset(scratch->words, 0, scratch->capacity * sizeof(uint32_t));
        scratch->generation = 1;
    }
}

static bool is_word(const Matcher *on, size_t at)
{
    char c = at < on->text.len ? on->text.ptr[at] : ' ';
    return ascii_is_alphanumeric(c) || c == '_';
}

static bool at_boundary(const Matcher *on, size_t at)
{
    return (at > 0 && is_word(on, at - 1)) != is_word(on, at);
}

static bool holds(const Matcher *on, const RegexInstruction *instruction, size_t at)
{
    switch (instruction->op) {
    case REGEX_BEGIN:
        return at == 0;
    case REGEX_END:
        return at == on->text.len;
    case REGEX_BOUNDARY:
        return at_boundary(on, at);
    case REGEX_NO_BOUNDARY:
        return !at_boundary(on, at);
    default:
        assert(instruction->op == REGEX_LOOK && on->looks != NULL);
        return (on->looks[instruction->x][at / 64] >> at % 64 & 1) !=
               on->regex->looks[instruction->x].is_negated;
    }
}

// Everything that is reached from @start without a further character.
static void reach(Matcher *on, States *states, uint32_t start, size_t at)
{
    uint32_t *marks = on->scratch->words;
    uint32_t depth = 0;
    on->stack[depth++] = start;
    while (depth > 0) {
        uint32_t pc = on->stack[--depth];
        if (marks[pc] == on->scratch->generation) {
            continue;
        }
        marks[pc] = on->scratch->generation;
        on->reached++;
        const RegexInstruction *instruction = &on->regex->code[pc];
        switch (instruction->op) {
        case REGEX_CHARACTER:
        case REGEX_CLASS:
            states->list[states->count++] = pc;
            break;
        case REGEX_MATCH:
            states->has_matched = true;
            break;
        case REGEX_JUMP:
            on->stack[depth++] = instruction->x;
            break;
        case REGEX_SPLIT:
            on->stack[depth++] = instruction->y;
            on->stack[depth++] = instruction->x;
            break;
        default:
            if (holds(on, instruction, at)) {
                on->stack[depth++] = pc + 1;
            }
        }
    }
}

// @at is the place behind @point, in the direction of the match.
static void step(Matcher *on, const States *from, States *to, uint32_t point, size_t at)
{
    for (uint32_t i = 0; i < from->count; i++) {
        uint32_t pc = from->list[i];
        const RegexInstruction *instruction = &on->regex->code[pc];
        bool takes = instruction->op == REGEX_CHARACTER
                         ? instruction->x == point
                         : class_has(on->regex->classes[instruction->x], point);
        if (takes) {
            reach(on, to, pc + 1, at);
        }
    }
}

// Also those instructions count that take no character: there may be many more of them.
static bool spend(Matcher *on)
{
    on->budget = on->budget > on->reached ? on->budget - on->reached : 0;
    on->reached = 0;
    return on->budget > 0;
}

static size_t character_before(Str text, size_t at)
{
    size_t len = 1;
    while (len < at && len < 4 && utf8_goes_on(text.ptr[at - len])) {
        len++;
    }
    return len;
}

/**
 * Follow the program at @start through the whole text, beginning it anew at each place (@is_once:
 * at the first alone). With @found: set the bit of each place where it matches; without: true at
 * the first match.
 */
static bool run(Matcher *on, uint32_t start, bool is_backwards, bool is_once, uint64_t *found)
{
    RegexScratch *scratch = on->scratch;
    States lists[2] = {{.list = scratch->words + scratch->capacity},
                       {.list = scratch->words + 2 * scratch->capacity}};
    States *now = &lists[0];
    States *then = &lists[1];
    size_t at = is_backwards ? on->text.len : 0;
    size_t last = on->text.len - at;
    next_generation(scratch);
    reach(on, now, start, at);
    for (;;) {
        if (now->has_matched && found == NULL) {
            return true;
        }
        if (now->has_matched) {
            found[at / 64] |= UINT64_C(1) << at % 64;
        }
        if (at == last || (is_once && now->count == 0) || !spend(on)) {
            return false;
        }
        size_t len = is_backwards ? character_before(on->text, at)
                                  : utf8_character(on->text.ptr + at, on->text.len - at);
        len = MAX(len, (size_t)1);
        size_t from = is_backwards ? at - len : at;
        uint32_t point = utf8_decode(on->text.ptr + from, len);
        at = is_backwards ? from : at + len;
        next_generation(scratch);
        *then = (States){.list = then->list};
        step(on, now, then, point, at);
        if (!is_once) {
            reach(on, then, start, at);
        }
        States *swap = now;
        now = then;
        then = swap;
    }
}

bool regex_search(const Regex *regex, Str text, RegexScratch *scratch, uint64_t *budget)
{
    reserve(scratch, regex->count);
    Matcher on = {.regex = regex, .text = text, .scratch = scratch, .budget = *budget};
    on.stack = scratch->words + 3 * scratch->capacity;
    if (regex->look_count > 0) {
        on.looks = ARENA_ARRAY(&scratch->looks, uint64_t *, regex->look_count);
    }
    // The inner ones first.
    for (uint32_t i = regex->look_count; i-- > 0;) {
        const Look *look = &regex->looks[i];
        on.looks[i] = ARENA_ARRAY(&scratch->looks, uint64_t, text.len / 64 + 1);
        (void)run(&on, look->start, !look->is_behind, false, on.looks[i]);
    }
    bool found = run(&on, 0, false, regex->begins_at_start, NULL);
    if (regex->look_count > 0) {
        arena_reset(&scratch->looks);
    }
    *budget = on.budget;
    return found && on.budget > 0;
}
