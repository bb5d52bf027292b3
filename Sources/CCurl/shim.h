// libcurl. Its setopt/getinfo are C varargs, which Swift cannot call: typed wrappers stand here.
#include <stddef.h>
#include <curl/curl.h>

static inline CURLcode aloft_curl_set_long(CURL *h, CURLoption o, long v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode aloft_curl_set_offset(CURL *h, CURLoption o, curl_off_t v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode aloft_curl_set_string(CURL *h, CURLoption o, const char *v) { return curl_easy_setopt(h, o, v); }
static inline CURLcode aloft_curl_set_pointer(CURL *h, CURLoption o, void *v) { return curl_easy_setopt(h, o, v); }

// The bytes are copied by libcurl (CURL_BLOB_COPY), so they need not outlive the call.
static inline CURLcode aloft_curl_set_blob(CURL *h, CURLoption o, const void *bytes, size_t length) {
  struct curl_blob blob = {(void *)bytes, length, CURL_BLOB_COPY};
  return curl_easy_setopt(h, o, &blob);
}

// One type covers write, header and read callbacks: libcurl declares all three as size_t (char *, size_t, size_t, void *).
typedef size_t (*aloft_curl_data_callback)(char *, size_t, size_t, void *);
typedef int (*aloft_curl_seek_callback)(void *, curl_off_t, int);
static inline CURLcode aloft_curl_set_data_callback(CURL *h, CURLoption o, aloft_curl_data_callback f) {
  return curl_easy_setopt(h, o, f);
}
static inline CURLcode aloft_curl_set_seek_callback(CURL *h, aloft_curl_seek_callback f) {
  return curl_easy_setopt(h, CURLOPT_SEEKFUNCTION, f);
}

static inline CURLcode aloft_curl_set_open_socket(CURL *h, curl_opensocket_callback f) {
  return curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, f);
}
// The address is longer than its declared type where it is no IPv4 one: `addrlen` bytes stand here.
static inline const void *aloft_curl_address(const struct curl_sockaddr *a) { return &a->addr; }

static inline CURLcode aloft_curl_get_long(CURL *h, CURLINFO i, long *v) { return curl_easy_getinfo(h, i, v); }
static inline CURLcode aloft_curl_get_offset(CURL *h, CURLINFO i, curl_off_t *v) { return curl_easy_getinfo(h, i, v); }

static inline CURLMcode aloft_curl_multi_set_long(CURLM *m, CURLMoption o, long v) {
  return curl_multi_setopt(m, o, v);
}

// CURLMsg holds a union, which Swift reads as an opaque tuple: the result of a finished transfer is taken out here.
// Returns NULL when nothing has finished.
static inline CURL *aloft_curl_next_finished(CURLM *m, CURLcode *result) {
  int left = 0;
  CURLMsg *message;
  while ((message = curl_multi_info_read(m, &left))) {
    if (message->msg == CURLMSG_DONE) {
      *result = message->data.result;
      return message->easy_handle;
    }
  }
  return NULL;
}

// Values that are macros or anonymous enums with types that differ from what the wrappers take.
static inline long aloft_curl_http_1_1(void) { return CURL_HTTP_VERSION_1_1; }
static inline long aloft_curl_tls_1_2(void) { return CURL_SSLVERSION_TLSv1_2; }
static inline size_t aloft_curl_write_pause(void) { return CURL_WRITEFUNC_PAUSE; }
static inline size_t aloft_curl_read_pause(void) { return CURL_READFUNC_PAUSE; }
static inline size_t aloft_curl_read_abort(void) { return CURL_READFUNC_ABORT; }
static inline long aloft_curl_global_default(void) { return CURL_GLOBAL_DEFAULT; }
