// Everything of one time step of an LSTM that is not a matrix product, in one pass forward and one backward.
//
//   i, f, o = sigmoid(...), g = tanh(...)      gates, in torch's order i, f, g, o
//   cell'   = f * cell + i * g
//   hidden' = o * tanh(cell')
//
// What is kept for the backward pass are the gates before bias and activation: these lose least when they are kept in
// bfloat16 (a sigmoid near one has no digits left for 1 - sigmoid), and to activate them again costs less than to
// write and read them. The cell is kept in single precision, and all arithmetic is done in it.

#include <cmath>
#include <cstdint>

#if defined(__AVX512F__) && !defined(__clang__)
#pragma GCC target("prefer-vector-width=512")  // by itself GCC takes half of a register
#endif

namespace {

struct bfloat16 {
    uint16_t bits;
};

inline float wide(float value) { return value; }
inline float wide(bfloat16 value) { return __builtin_bit_cast(float, uint32_t(value.bits) << 16); }
inline void narrow(float value, float& result) { result = value; }
inline void narrow(float value, bfloat16& result) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, value);
    result.bits = uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // to the nearest, ties to even
}

// e^x - 1 with full relative precision, also near zero; x is taken into [-87, 87], where e^x is a normal number.
// x = n log(2) + r with |r| < 0.35; the series ends where its next term is below half a unit in the last place. The
// comparisons let a NaN through.
inline float exp_minus_one(float x) {
    constexpr float INTEGERS = 12582912.0f;  // 1.5 * 2^23: a number added to it is rounded to an integer
    constexpr float LN2_HIGH = 0.693359375f, LN2_LOW = -2.12194440e-4f;  // n * LN2_HIGH is exact
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    const float shifted = x * 1.44269504f + INTEGERS;
    const float n = shifted - INTEGERS;
    const float r = (x - n * LN2_HIGH) - n * LN2_LOW;
    float series = 1.0f / 5040;
    series = series * r + 1.0f / 720;
    series = series * r + 1.0f / 120;
    series = series * r + 1.0f / 24;
    series = series * r + 1.0f / 6;
    series = series * r + 0.5f;
    series = series * r * r + r;
    const float power = __builtin_bit_cast(float, (__builtin_bit_cast(uint32_t, shifted) + 127) << 23);  // 2^n
    return power * series + (power - 1);
}

// Both are within three units in the last place of the exact value (a sigmoid below 2e-38 within that of zero).
inline float sigmoid(float x) { return 1 / (2 + exp_minus_one(-x)); }
inline float tanh_(float x) {
    const float e = exp_minus_one(-2 * std::fabs(x));
    return std::copysign(e / (2 + e), x);
}

// The tensors of a layer's pass over a sequence, as `_Tensors` in compiled_recurrence.py; T is float or bfloat16.
struct Layer {
    int64_t batch, size;    // size: hidden units
    void* gates;            // T [length, batch, 4 * size], before bias and activation
    const float* bias;      // [4 * size]
    float* cell;            // [length + 1, batch, size]
    void* hidden;           // T [length + 1, batch, size]
    const void* arriving;   // T, gradient of the hidden states, with the strides of time and batch:
    int64_t step_stride, row_stride;
    const float* d_hidden;  // [batch, size], gradient of the hidden state from the later step
    float* d_cell;          // [batch, size], gradient of the cell from the later step, then from this one
    void* d_gates;          // T [chunk, batch, 4 * size], before the activation; step t is at t % chunk
    int64_t chunk;
};

template <class T>
void forward(const Layer& layer, int64_t t) {
    const int64_t size = layer.size;
    const float *bias_i = layer.bias, *bias_f = bias_i + size, *bias_g = bias_f + size, *bias_o = bias_g + size;
    for (int64_t row = t * layer.batch; row < (t + 1) * layer.batch; ++row) {
        const T* i = static_cast<const T*>(layer.gates) + row * 4 * size;
        const T *f = i + size, *g = f + size, *o = g + size;
        const float* cell = layer.cell + row * size;
        float* next = layer.cell + (row + layer.batch) * size;
        T* hidden = static_cast<T*>(layer.hidden) + (row + layer.batch) * size;
#pragma GCC ivdep
        for (int64_t j = 0; j < size; ++j) {
            const float enter = sigmoid(wide(i[j]) + bias_i[j]), forget = sigmoid(wide(f[j]) + bias_f[j]);
            const float value = tanh_(wide(g[j]) + bias_g[j]), leave = sigmoid(wide(o[j]) + bias_o[j]);
            next[j] = forget * cell[j] + enter * value;
            narrow(leave * tanh_(next[j]), hidden[j]);
        }
    }
}

// Asks for memory that will be read soon: the hardware does not foresee that steps come last first.
template <class T>
void fetch_ahead(const T* from, int64_t count) {
    constexpr int64_t LINE = 64 / sizeof(T);
    for (int64_t at = 0; at < count; at += LINE) __builtin_prefetch(from + at);
}

template <class T>
void backward(const Layer& layer, int64_t t) {
    const int64_t size = layer.size;
    const float *bias_i = layer.bias, *bias_f = bias_i + size, *bias_g = bias_f + size, *bias_o = bias_g + size;
    for (int64_t b = 0; b < layer.batch; ++b) {
        const int64_t row = t * layer.batch + b;
        const T* i = static_cast<const T*>(layer.gates) + row * 4 * size;
        const T *f = i + size, *g = f + size, *o = g + size;
        T* d_i = static_cast<T*>(layer.d_gates) + (t % layer.chunk * layer.batch + b) * 4 * size;
        T *d_f = d_i + size, *d_g = d_f + size, *d_o = d_g + size;
        const float *cell = layer.cell + row * size, *next = layer.cell + (row + layer.batch) * size;
        const T* arriving = static_cast<const T*>(layer.arriving) + t * layer.step_stride + b * layer.row_stride;
        const float* d_hidden = layer.d_hidden + b * size;
        float* d_cell = layer.d_cell + b * size;
        if (t > 0) fetch_ahead(i - layer.batch * 4 * size, 4 * size);  // of the step that comes next
#pragma GCC ivdep
        for (int64_t j = 0; j < size; ++j) {
            const float enter = sigmoid(wide(i[j]) + bias_i[j]), forget = sigmoid(wide(f[j]) + bias_f[j]);
            const float value = tanh_(wide(g[j]) + bias_g[j]), leave = sigmoid(wide(o[j]) + bias_o[j]);
            const float squashed = tanh_(next[j]);
            const float d_h = wide(arriving[j]) + d_hidden[j];
            const float d_c = d_cell[j] + d_h * leave * (1 - squashed * squashed);
            narrow(d_c * value * enter * (1 - enter), d_i[j]);
            narrow(d_c * cell[j] * forget * (1 - forget), d_f[j]);
            narrow(d_c * enter * (1 - value * value), d_g[j]);
            narrow(d_h * squashed * leave * (1 - leave), d_o[j]);
            d_cell[j] = d_c * forget;
        }
    }
}

}  // namespace

#define EXPORT(NAME, T)                                                                                              \
    extern "C" void lstm_forward_##NAME(const Layer* layer, int32_t step) { forward<T>(*layer, step); }              \
    extern "C" void lstm_backward_##NAME(const Layer* layer, int32_t step) { backward<T>(*layer, step); }

EXPORT(float32, float)
EXPORT(bfloat16, bfloat16)

// The activations of `count` numbers, for the tests of their precision.
extern "C" void activations(const float* x, int64_t count, float* sigmoids, float* tanhs) {
    for (int64_t j = 0; j < count; ++j) {
        sigmoids[j] = sigmoid(x[j]);
        tanhs[j] = tanh_(x[j]);
    }
}
