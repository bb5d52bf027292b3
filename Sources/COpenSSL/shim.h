// OpenSSL 3. Function-like macros are invisible to Swift: the handful that are needed are wrapped here.
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
