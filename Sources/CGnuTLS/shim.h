// GnuTLS, and what takes macros, its global function pointers or lists of its objects.
#pragma once
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/// Which of the given texts a failure is about.
enum cgnutls_part { cgnutls_certificate, cgnutls_key, cgnutls_pair };

/// What is known of a server's certificate. Times are seconds since 1970.
struct cgnutls_pair_facts {
  enum cgnutls_part failed;
  int64_t valid_from;
  /// Of the server's own certificate and those that stand behind it, the first to end.
  int64_t valid_until;
};

/// Puts a chain of certificates and the key of its first into fresh credentials; both are PEM. 0, or GnuTLS's error and
/// what it is about.
static inline int cgnutls_set_pair(gnutls_certificate_credentials_t _Nonnull credentials,
                                   const gnutls_datum_t *_Nonnull certificate, const gnutls_datum_t *_Nonnull key,
                                   struct cgnutls_pair_facts *_Nonnull facts) {
  gnutls_x509_crt_t *chain = NULL;
  unsigned int count = 0;
  gnutls_x509_privkey_t own = NULL;
  facts->failed = cgnutls_certificate;
  int result = gnutls_x509_crt_list_import2(&chain, &count, certificate, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_SORT);
  if (result >= 0) {
    facts->valid_from = gnutls_x509_crt_get_activation_time(chain[0]);
    facts->valid_until = INT64_MAX;
    for (unsigned int i = 0; i < count; i++) {
      int64_t end = gnutls_x509_crt_get_expiration_time(chain[i]);
      if (end < facts->valid_until) facts->valid_until = end;
    }
    facts->failed = cgnutls_key;
    result = gnutls_x509_privkey_init(&own);
  }
  if (result >= 0) result = gnutls_x509_privkey_import2(own, key, GNUTLS_X509_FMT_PEM, NULL, 0);
  if (result >= 0) result = gnutls_x509_privkey_verify_params(own);
  if (result >= 0) {
    facts->failed = cgnutls_pair;
    result = gnutls_certificate_set_x509_key(credentials, chain, (int)count, own);
  }
  for (unsigned int i = 0; i < count; i++) gnutls_x509_crt_deinit(chain[i]);
  gnutls_free(chain);
  if (own) gnutls_x509_privkey_deinit(own);
  return result < 0 ? result : 0;
}

/// Whether a client has shown a certificate, and one for clients that leads to a trusted one: 1 and its subject (RFC
/// 4514), 0 for none, -1 and what is wrong with it. The text is to be given to `cgnutls_release`; it may be empty.
static inline int cgnutls_verify_client(gnutls_session_t _Nonnull session, gnutls_datum_t *_Nonnull text) {
  *text = (gnutls_datum_t){NULL, 0};
  unsigned int count = 0;
  const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
  if (!chain || count == 0) return 0;
  gnutls_typed_vdata_st purpose = {
      .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
  unsigned int faults = 0;
  if (gnutls_certificate_verify_peers(session, &purpose, 1, &faults) < 0) return -1;
  if (faults != 0) {
    (void)gnutls_certificate_verification_status_print(faults, GNUTLS_CRT_X509, text, 0);
    return -1;
  }
  gnutls_x509_crt_t own;
  if (gnutls_x509_crt_init(&own) < 0) return -1;
  int result = gnutls_x509_crt_import(own, &chain[0], GNUTLS_X509_FMT_DER);
  if (result >= 0) result = gnutls_x509_crt_get_dn3(own, text, 0);
  gnutls_x509_crt_deinit(own);
  return result < 0 ? -1 : 1;
}

/// Frees a text that GnuTLS has made.
static inline void cgnutls_release(gnutls_datum_t *_Nonnull text) { gnutls_free(text->data); }
