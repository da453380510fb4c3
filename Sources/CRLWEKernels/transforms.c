#include "dispatch.h"
#include "modular.h"
#include "ntt_tables.h"

// Transforms, alone and with what comes before and after them. With tables in doubles what comes before is in the first
// pass, and what comes after runs on parts that are in the cache; else one thing is done after the other.

static void forward(uint64_t *x, const hkms_ntt_tables *t) {
    hkms_ntt_forward_portable(x, t->n, t->q, t->forward, t->forward_quotients);
}

static void inverse(uint64_t *x, const hkms_ntt_tables *t) {
    hkms_ntt_inverse_portable(x, t->n, t->q, t->inverse, t->inverse_quotients, t->n_inverse, t->n_inverse_shoup);
}

// The source's residues.
static void expand(uint64_t *out, const hkms_ntt_source *source, const hkms_ntt_tables *t) {
    switch (source->kind) {
    case HKMS_SOURCE_WORDS:
        if (out != source->words)
            for (size_t i = 0; i < t->n; i++) out[i] = source->words[i];
        break;
    case HKMS_SOURCE_SMALL: hkms_small_expand(out, source->small, t->n, t->q); break;
    case HKMS_SOURCE_TERNARY: hkms_ternary_expand(out, source->packed, t->n, t->q); break;
    case HKMS_SOURCE_CENTERED: hkms_reduce_centered(out, source->words, t->n, source->prime, &t->modulus); break;
    case HKMS_SOURCE_SUM:
        hkms_weighted_sum(out, source->rows, source->weights, source->count, source->start, &t->modulus, source->bits,
                          t->n);
        break;
    }
}

static void finish(const hkms_ntt_result *result, const uint64_t *v, const hkms_ntt_tables *t) {
    const uint64_t s = result->scalar;
    switch (result->kind) {
    case HKMS_RESULT_PLAIN: break;
    case HKMS_RESULT_PLUS_PRODUCT:
        hkms_multiply_plus(result->out, result->a, result->b, v, t->n, &t->modulus);
        break;
    case HKMS_RESULT_PLUS_PRODUCT_AND_MORE:
        hkms_multiply_plus(result->out, result->a, result->b, v, t->n, &t->modulus);
        hkms_add(result->out, result->out, result->c, t->n, t->q);
        break;
    case HKMS_RESULT_NEGATED_PLUS_PRODUCT:
        hkms_negated_multiply_plus(result->out, result->a, result->b, v, t->n, &t->modulus);
        break;
    case HKMS_RESULT_SCALED_DIFFERENCE:
        hkms_subtract_multiply_scalar(result->out, result->c, v, t->n, t->q, s,
                                      (uint64_t)(((unsigned __int128)s << 64) / t->q));
        break;
    }
}

static void run(uint64_t *work, const hkms_ntt_source *source, const hkms_ntt_result *result,
                const hkms_ntt_tables *t) {
    if (t->in_doubles && (source->kind != HKMS_SOURCE_CENTERED || source->prime < (uint64_t)1 << 50) &&
        (source->kind != HKMS_SOURCE_SUM || (source->bits <= 50 && source->count <= HKMS_MOST_TERMS))) {
        IN_DOUBLES(hkms_ntt_forward_fused_avx2(work, source, result, t));
        return;
    }
    expand(work, source, t);
    if (t->in_doubles)
        IN_DOUBLES(hkms_ntt_forward_avx2(work, t));
    else
        forward(work, t);
    finish(result, work, t);
}

static const hkms_ntt_result plain = {.kind = HKMS_RESULT_PLAIN};

void hkms_ntt_forward(uint64_t *x, const hkms_ntt_tables *tables) {
    const hkms_ntt_source source = {.kind = HKMS_SOURCE_WORDS, .words = x};
    run(x, &source, &plain, tables);
}

void hkms_ntt_forward_small(uint64_t *out, const int8_t *in, const hkms_ntt_tables *tables) {
    const hkms_ntt_source source = {.kind = HKMS_SOURCE_SMALL, .small = in};
    run(out, &source, &plain, tables);
}

void hkms_ntt_forward_ternary(uint64_t *out, const uint8_t *packed, const hkms_ntt_tables *tables) {
    const hkms_ntt_source source = {.kind = HKMS_SOURCE_TERNARY, .packed = packed};
    run(out, &source, &plain, tables);
}

void hkms_ntt_forward_centered(uint64_t *out, const uint64_t *in, uint64_t from, const hkms_ntt_tables *tables) {
    const hkms_ntt_source source = {.kind = HKMS_SOURCE_CENTERED, .words = in, .prime = from};
    run(out, &source, &plain, tables);
}

void hkms_ntt_forward_weighted_sum(uint64_t *out, const uint64_t *const *rows, const uint64_t *weights, size_t count,
                                   uint64_t start, uint32_t source_bits, const hkms_ntt_tables *tables) {
    const hkms_ntt_source source = {.kind = HKMS_SOURCE_SUM, .rows = rows, .weights = weights, .count = count,
                                    .start = start, .bits = source_bits};
    run(out, &source, &plain, tables);
}

void hkms_ntt_small_plus_product(uint64_t *out, uint64_t *work, const int8_t *in, const uint64_t *a, const uint64_t *b,
                                 const uint64_t *c, const hkms_ntt_tables *tables) {
    const hkms_ntt_source source = {.kind = HKMS_SOURCE_SMALL, .small = in};
    const hkms_ntt_result result = {.kind = c ? HKMS_RESULT_PLUS_PRODUCT_AND_MORE : HKMS_RESULT_PLUS_PRODUCT,
                                    .out = out, .a = a, .b = b, .c = c};
    run(work, &source, &result, tables);
}

void hkms_ntt_small_negated_plus_product(uint64_t *out, uint64_t *work, const int8_t *in, const uint64_t *a,
                                         const uint64_t *b, const hkms_ntt_tables *tables) {
    const hkms_ntt_source source = {.kind = HKMS_SOURCE_SMALL, .small = in};
    const hkms_ntt_result result = {.kind = HKMS_RESULT_NEGATED_PLUS_PRODUCT, .out = out, .a = a, .b = b};
    run(work, &source, &result, tables);
}

void hkms_ntt_centered_scaled_difference(uint64_t *out, uint64_t *work, const uint64_t *x, const uint64_t *in,
                                         uint64_t from, uint64_t s, const hkms_ntt_tables *tables) {
    const hkms_ntt_source source = {.kind = HKMS_SOURCE_CENTERED, .words = in, .prime = from};
    const hkms_ntt_result result = {.kind = HKMS_RESULT_SCALED_DIFFERENCE, .out = out, .c = x, .scalar = s};
    run(work, &source, &result, tables);
}

void hkms_ntt_weighted_sum_scaled_difference(uint64_t *out, uint64_t *work, const uint64_t *x,
                                             const uint64_t *const *rows, const uint64_t *weights, size_t count,
                                             uint64_t start, uint32_t source_bits, uint64_t s,
                                             const hkms_ntt_tables *tables) {
    const hkms_ntt_source source = {.kind = HKMS_SOURCE_SUM, .rows = rows, .weights = weights, .count = count,
                                    .start = start, .bits = source_bits};
    const hkms_ntt_result result = {.kind = HKMS_RESULT_SCALED_DIFFERENCE, .out = out, .c = x, .scalar = s};
    run(work, &source, &result, tables);
}

void hkms_ntt_inverse(uint64_t *x, const hkms_ntt_tables *tables) {
    if (tables->in_doubles)
        IN_DOUBLES(hkms_ntt_inverse_avx2(x, tables));
    else
        inverse(x, tables);
}

void hkms_ntt_inverse_scaled(uint64_t *out, const uint64_t *in, uint64_t s, uint64_t offset,
                             const hkms_ntt_tables *tables) {
    const hkms_ntt_tables *t = tables;
    if (t->in_doubles) {
        IN_DOUBLES(hkms_ntt_inverse_scaled_avx2(out, in, multiply_public(t->n_inverse, s, t->q),
                                                multiply_public(t->n_inverse_root, s, t->q), offset, t));
        return;
    }
    if (out != in)
        for (size_t i = 0; i < t->n; i++) out[i] = in[i];
    inverse(out, t);
    hkms_multiply_scalar_offset(out, out, t->n, t->q, s, (uint64_t)(((unsigned __int128)s << 64) / t->q), offset);
}

hkms_ntt_tables *hkms_ntt_tables_create(size_t n, const hkms_modulus *modulus, uint64_t psi) {
    hkms_ntt_tables *tables;
    // The bounds of quotients count on it.
    IN_ROUND_TO_NEAREST(tables = hkms_ntt_tables_make(n, modulus, psi));
    return tables;
}
