// Single precision and bfloat16: the loops compute in the first and may read and write the second.

#pragma once

#include <cstdint>

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
