#include <openssl/sha.h>
#include <string.h>

// SHA-256 that can stop in one process and go on in another: only the old interface shows its state. It is deprecated for
// its form and as fast as the new one.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
static inline void aloft_sha256_begin(SHA256_CTX *c) { SHA256_Init(c); }
static inline void aloft_sha256_add(SHA256_CTX *c, const void *bytes, size_t count) { SHA256_Update(c, bytes, count); }
static inline void aloft_sha256_end(SHA256_CTX *c, unsigned char digest[32]) { SHA256_Final(digest, c); }
#pragma clang diagnostic pop

enum { ALOFT_SHA256_STATE = 32 + 8 + 64 };

// The eight words, the number of bits (both big endian), and the block that is not full yet.
static inline void aloft_sha256_save(const SHA256_CTX *c, unsigned char state[ALOFT_SHA256_STATE]) {
  for (int i = 0; i < 8; i++)
    for (int k = 0; k < 4; k++) state[4 * i + k] = (unsigned char)(c->h[i] >> (24 - 8 * k));
  for (int k = 0; k < 4; k++) {
    state[32 + k] = (unsigned char)(c->Nh >> (24 - 8 * k));
    state[36 + k] = (unsigned char)(c->Nl >> (24 - 8 * k));
  }
  memset(state + 40, 0, 64);
  memcpy(state + 40, c->data, c->num);
}

static inline void aloft_sha256_restore(SHA256_CTX *c, const unsigned char state[ALOFT_SHA256_STATE]) {
  aloft_sha256_begin(c);
  for (int i = 0; i < 8; i++) {
    c->h[i] = 0;
    for (int k = 0; k < 4; k++) c->h[i] = c->h[i] << 8 | state[4 * i + k];
  }
  for (int k = 0; k < 4; k++) {
    c->Nh = c->Nh << 8 | state[32 + k];
    c->Nl = c->Nl << 8 | state[36 + k];
  }
  c->num = (c->Nl >> 3) % 64;
  memcpy(c->data, state + 40, c->num);
}
