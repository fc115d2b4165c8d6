// Normalisation, shortcut and ReLU of a channels-last tensor in two passes forward and two passes backward.
//
// PyTorch makes twice as many: each of its operations is bound by memory, not by arithmetic. A tensor is read as rows of
// channels. Rows come in segments, channels in groups; each segment of a group has its own mean and deviation:
// batch normalisation has one segment and as many groups as channels, group normalisation a segment for each sample.
//
//   y = max(0, (z - mean) * inverse_deviation * gain + bias + shortcut)
//
// Sums are taken in single precision over blocks of rows and in double precision over the blocks. Comparisons are
// written so that a NaN passes through: it tells that a run has diverged. Each segment has at least one row.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "numbers.h"

constexpr int64_t BLOCK = 64;   // rows summed in single precision
constexpr int64_t NARROW = 64;  // channels below which several rows are taken as one

// Outside the unnamed namespace, for the exported functions take it.
struct Shape {
    int64_t segments, rows, channels, groups;  // rows of one segment
    int64_t size() const { return rows * channels; }
    int64_t per_group() const { return channels / groups; }
    double count() const { return double(rows) * double(per_group()); }
    // The loops run over lines of lanes: of few channels several rows make a line, so that it fills vector registers.
    int64_t rows_a_line() const {
        int64_t together = 1;
        while (together * channels < NARROW && rows % (2 * together) == 0) together *= 2;
        return together;
    }
    int64_t lanes() const { return rows_a_line() * channels; }
};

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

// Repeats the values of all channels for each row of a line.
Floats tiled(const Shape& shape, Floats values) {
    values.resize(shape.lanes());
    for (int64_t row = shape.channels; row < shape.lanes(); row += shape.channels) {
        std::copy_n(values.begin(), shape.channels, values.begin() + row);
    }
    return values;
}

// Adds up two quantities of each channel over a segment; `line` adds what begins at an offset to the sums of lanes.
template <class Line>
void sums(const Shape& shape, Doubles& first, Doubles& second, Line line) {
    const int64_t lanes = shape.lanes(), step = BLOCK * lanes;
    Floats a(lanes), b(lanes);
    first.assign(shape.channels, 0.0);
    second.assign(shape.channels, 0.0);
    for (int64_t start = 0; start < shape.size(); start += step) {
        std::fill(a.begin(), a.end(), 0.0f);
        std::fill(b.begin(), b.end(), 0.0f);
        for (int64_t at = start; at < std::min(start + step, shape.size()); at += lanes) line(at, a.data(), b.data());
        for (int64_t row = 0; row < lanes; row += shape.channels) {
            for (int64_t c = 0; c < shape.channels; ++c) {
                first[c] += a[row + c];
                second[c] += b[row + c];
            }
        }
    }
}

// Mean and inverse deviation of each group of a segment, from sums of z - z0 and its square: z0, the channel's value in
// the first row, keeps the difference of the two from cancelling where the mean is far from zero.
template <class T>
void statistics(const Shape& shape, const T* z, float epsilon, float* mean, float* inverse) {
    Floats origin(shape.channels);
    for (int64_t c = 0; c < shape.channels; ++c) origin[c] = wide(z[c]);
    origin = tiled(shape, origin);
    Doubles sum, square;
    sums(shape, sum, square, [&, lanes = shape.lanes(), from = origin.data()](int64_t at, float* a, float* b) {
#pragma GCC ivdep
        for (int64_t i = 0; i < lanes; ++i) {
            const float value = wide(z[at + i]) - from[i];
            a[i] += value;
            b[i] += value * value;
        }
    });
    for (int64_t g = 0; g < shape.groups; ++g) {
        const int64_t from = g * shape.per_group(), to = from + shape.per_group();
        double total = 0, scatter = 0;
        for (int64_t c = from; c < to; ++c) total += sum[c] + double(shape.rows) * origin[c];
        const double centre = total / shape.count();
        for (int64_t c = from; c < to; ++c) {
            const double offset = centre - origin[c];
            scatter += square[c] - 2 * offset * sum[c] + double(shape.rows) * offset * offset;
        }
        // Squares too large for single precision: of a run that has diverged so far no constant channel is to be made.
        if (std::isinf(scatter)) scatter = std::numeric_limits<double>::quiet_NaN();
        mean[g] = float(centre);
        inverse[g] = float(1 / std::sqrt(std::max(scatter, 0.0) / shape.count() + epsilon));
    }
}

// What normalisation multiplies the lanes of a segment by and adds to them.
struct Affine {
    Floats scale, shift;
    Affine(const Shape& shape, const float* mean, const float* inverse, const float* gain, const float* bias)
        : scale(shape.channels), shift(shape.channels) {
        for (int64_t g = 0, c = 0; g < shape.groups; ++g) {
            for (const int64_t end = c + shape.per_group(); c < end; ++c) {
                scale[c] = inverse[g] * gain[c];
                shift[c] = bias[c] - mean[g] * scale[c];
            }
        }
        scale = tiled(shape, scale);
        shift = tiled(shape, shift);
    }
};

template <class T, bool relu, bool shortcut>
void forward(const Shape& shape, const T* z, const T* added, T* y, const Affine& affine) {
    const int64_t lanes = shape.lanes();
    const float *scale = affine.scale.data(), *shift = affine.shift.data();
    for (int64_t at = 0; at < shape.size(); at += lanes) {
#pragma GCC ivdep
        for (int64_t i = 0; i < lanes; ++i) {
            float value = wide(z[at + i]) * scale[i] + shift[i];
            if (shortcut) value += wide(added[at + i]);
            narrow(relu && value < 0 ? 0.0f : value, y[at + i]);
        }
    }
}

// The gradient behind the ReLU: where there is no shortcut, its sign is found anew from z.
template <class T, bool relu, bool shortcut>
inline float behind_relu(const T* dy, const T* z, const T* y, int64_t at, float scale, float shift) {
    const float gradient = wide(dy[at]);
    if (!relu) return gradient;
    const float value = shortcut ? wide(y[at]) : wide(z[at]) * scale + shift;
    return value <= 0 ? 0.0f : gradient;
}

template <class T, bool relu, bool shortcut>
void backward(const Shape& shape, const T* dy, const T* z, const T* y, T* d_shortcut, T* dz, const float* mean,
              const float* inverse, const float* gain, const float* bias, Doubles& d_gain, Doubles& d_bias) {
    const Affine affine(shape, mean, inverse, gain, bias);
    const int64_t lanes = shape.lanes();
    const float *scale = affine.scale.data(), *shift = affine.shift.data();
    Floats centre(shape.channels), along(shape.channels), constant(shape.channels);
    for (int64_t g = 0; g < shape.groups; ++g) std::fill_n(&centre[g * shape.per_group()], shape.per_group(), mean[g]);
    centre = tiled(shape, centre);
    Doubles sum, product;  // of the gradient g, and of g * (z - mean)
    sums(shape, sum, product, [&, middle = centre.data()](int64_t at, float* a, float* b) {
#pragma GCC ivdep
        for (int64_t i = 0; i < lanes; ++i) {
            const float g = behind_relu<T, relu, shortcut>(dy, z, y, at + i, scale[i], shift[i]);
            if (shortcut) narrow(g, d_shortcut[at + i]);  // the gradient of what was added
            a[i] += g;
            b[i] += g * (wide(z[at + i]) - middle[i]);
        }
    });
    // dz = scale * g - inverse * (mean of gain * g) - inverse^3 * (z - mean) * (mean of gain * g * (z - mean))
    for (int64_t group = 0; group < shape.groups; ++group) {
        const int64_t from = group * shape.per_group(), to = from + shape.per_group();
        double level = 0, slope = 0;
        for (int64_t c = from; c < to; ++c) {
            level += gain[c] * sum[c];
            slope += gain[c] * product[c];
            d_gain[c] += product[c] * inverse[group];
            d_bias[c] += sum[c];
        }
        const double narrowness = inverse[group];
        const double by_z = narrowness * narrowness * narrowness * slope / shape.count();
        for (int64_t c = from; c < to; ++c) {
            along[c] = float(-by_z);
            constant[c] = float(by_z * mean[group] - inverse[group] * level / shape.count());
        }
    }
    along = tiled(shape, along);
    constant = tiled(shape, constant);
    const float *slopes = along.data(), *levels = constant.data();
    for (int64_t at = 0; at < shape.size(); at += lanes) {
#pragma GCC ivdep
        for (int64_t i = 0; i < lanes; ++i) {
            const float g = shortcut ? wide(d_shortcut[at + i])
                                     : behind_relu<T, relu, false>(dy, z, y, at + i, scale[i], shift[i]);
            narrow(g * scale[i] + wide(z[at + i]) * slopes[i] + levels[i], dz[at + i]);
        }
    }
}

template <class T>
void all_forward(const Shape& shape, const T* z, const T* shortcut, T* y, const float* gain, const float* bias,
                 float epsilon, bool relu, float* mean, float* inverse) {
    const auto pass = relu ? (shortcut ? forward<T, true, true> : forward<T, true, false>)
                           : (shortcut ? forward<T, false, true> : forward<T, false, false>);
    for (int64_t s = 0; s < shape.segments; ++s, mean += shape.groups, inverse += shape.groups) {
        const int64_t at = s * shape.size();
        statistics(shape, z + at, epsilon, mean, inverse);
        pass(shape, z + at, shortcut ? shortcut + at : nullptr, y + at, Affine(shape, mean, inverse, gain, bias));
    }
}

template <class T>
void all_backward(const Shape& shape, const T* dy, const T* z, const T* y, T* d_shortcut, T* dz, const float* mean,
                  const float* inverse, const float* gain, const float* bias, bool relu, float* d_gain,
                  float* d_bias) {
    const auto pass = relu ? (d_shortcut ? backward<T, true, true> : backward<T, true, false>)
                           : (d_shortcut ? backward<T, false, true> : backward<T, false, false>);
    Doubles gains(shape.channels), biases(shape.channels);
    for (int64_t s = 0; s < shape.segments; ++s, mean += shape.groups, inverse += shape.groups) {
        const int64_t at = s * shape.size();
        pass(shape, dy + at, z + at, y ? y + at : nullptr, d_shortcut ? d_shortcut + at : nullptr, dz + at, mean,
             inverse, gain, bias, gains, biases);
    }
    std::copy(gains.begin(), gains.end(), d_gain);
    std::copy(biases.begin(), biases.end(), d_bias);
}

}  // namespace

#define EXPORT(NAME, T)                                                                                              \
    extern "C" void forward_##NAME(const Shape* shape, const T* z, const T* shortcut, T* y, const float* gain,       \
                                   const float* bias, float epsilon, bool relu, float* mean, float* inverse) {       \
        all_forward(*shape, z, shortcut, y, gain, bias, epsilon, relu, mean, inverse);                               \
    }                                                                                                                \
    extern "C" void backward_##NAME(const Shape* shape, const T* dy, const T* z, const T* y, T* d_shortcut, T* dz,   \
                                    const float* mean, const float* inverse, const float* gain, const float* bias,   \
                                    bool relu, float* d_gain, float* d_bias) {                                       \
        all_backward(*shape, dy, z, y, d_shortcut, dz, mean, inverse, gain, bias, relu, d_gain, d_bias);             \
    }

EXPORT(float32, float)
EXPORT(bfloat16, bfloat16)
