// In which form the rows of a copy travel.
#pragma once

typedef enum CopyForm {
    COPY_FORM_VALUES, // as changes, value by value
    COPY_FORM_TEXT,   // as Postgres's COPY sends them: lines
    COPY_FORM_BINARY, // likewise: tuples of COPY BINARY, without its header and trailer
} CopyForm;
