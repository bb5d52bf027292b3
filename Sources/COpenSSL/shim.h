// OpenSSL 3. Function-like macros are invisible to Swift: the handful that are needed are wrapped here.
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static inline int aloft_ssl_ctx_set_min_tls12(SSL_CTX *ctx) {
  return (int)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
}

// Partial writes and moving buffers fit a non-blocking event loop; released buffers make idle connections cheap.
static inline void aloft_ssl_ctx_set_event_loop_modes(SSL_CTX *ctx) {
  SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  // One recv for header and payload of a record.
  SSL_CTX_set_read_ahead(ctx, 1);
}

static inline void aloft_ssl_ctx_set_server_options(SSL_CTX *ctx) {
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
}

static inline void aloft_ssl_ctx_disable_sessions(SSL_CTX *ctx) {
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(ctx, 0);
}

static inline long aloft_ssl_ctx_add1_chain_cert(SSL_CTX *ctx, X509 *certificate) {
  return SSL_CTX_add1_chain_cert(ctx, certificate);
}

// Whether reading PEM stopped because there is nothing more.
static inline int aloft_pem_at_end(void) {
  unsigned long code = ERR_peek_last_error();
  return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

// Chooses http/1.1 when the client offers it; otherwise goes on without ALPN.
static int aloft_alpn_select_http11(SSL *ssl, const unsigned char **out, unsigned char *outlen,
                                    const unsigned char *in, unsigned int inlen, void *arg) {
  (void)ssl;
  (void)arg;
  static const unsigned char http11[] = "http/1.1";
  const unsigned int length = sizeof(http11) - 1;
  for (unsigned int i = 0; i + 1 <= inlen && i + 1 + in[i] <= inlen; i += 1 + in[i]) {
    if (in[i] != length) continue;
    unsigned int k = 0;
    while (k < length && in[i + 1 + k] == http11[k]) k++;
    if (k == length) {
      *out = in + i + 1;
      *outlen = (unsigned char)length;
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_NOACK;
}

static inline void aloft_ssl_ctx_select_http11(SSL_CTX *ctx) {
  SSL_CTX_set_alpn_select_cb(ctx, aloft_alpn_select_http11, NULL);
}
