/// The closed list of error codes of the API. The contract's `ProblemCode` holds the same list; a test compares them.
public enum ProblemCode: String, Sendable, CaseIterable, Codable {
  case unknownField = "unknown_field"
  case missingField = "missing_field"
  case wrongType = "wrong_type"
  case outOfRange = "out_of_range"
  case tooLong = "too_long"
  case tooShort = "too_short"
  case badFormat = "bad_format"
  case notOneOf = "not_one_of"
  case duplicateItem = "duplicate_item"
  case unknownParameter = "unknown_parameter"
  case badID = "bad_id"
  case badCursor = "bad_cursor"
  case eventsGone = "events_gone"
  case badHTTP = "bad_http"
  case notJSON = "not_json"
  case badEncoding = "bad_encoding"
  case bodyTooLarge = "body_too_large"
  case bodyRequired = "body_required"
  case unsupportedMediaType = "unsupported_media_type"
  case unauthenticated = "unauthenticated"
  case tokenInvalid = "token_invalid"
  case tokenExpired = "token_expired"
  case sessionInvalid = "session_invalid"
  case sessionExpired = "session_expired"
  case loginFailed = "login_failed"
  case userDisabled = "user_disabled"
  case csrfRefused = "csrf_refused"
  case forbidden = "forbidden"
  case notFound = "not_found"
  case methodNotAllowed = "method_not_allowed"
  case imageUnknown = "image_unknown"
  case imageNotReady = "image_not_ready"
  case nameTaken = "name_taken"
  case inUse = "in_use"
  case lastAdmin = "last_admin"
  case limitReached = "limit_reached"
  case noCapacity = "no_capacity"
  case addressTaken = "address_taken"
  case addressesExhausted = "addresses_exhausted"
  case addressesOverlap = "addresses_overlap"
  case quotaExceeded = "quota_exceeded"
  case wrongState = "wrong_state"
  case preconditionFailed = "precondition_failed"
  case idempotencyKeyReused = "idempotency_key_reused"
  case checksumMismatch = "checksum_mismatch"
  case uploadIncomplete = "upload_incomplete"
  case uploadOffsetMismatch = "upload_offset_mismatch"
  case uploadInUse = "upload_in_use"
  case imageInvalid = "image_invalid"
  case imageUnsuitable = "image_unsuitable"
  case backupDamaged = "backup_damaged"
  case backupUnsupported = "backup_unsupported"
  case limitsContradict = "limits_contradict"
  case encryptionUnsupported = "encryption_unsupported"
  case memoryUnsupported = "memory_unsupported"
  case memoryMismatch = "memory_mismatch"
  case rangeNotSatisfiable = "range_not_satisfiable"
  case urlRefused = "url_refused"
  case nodeUnreachable = "node_unreachable"
  case joinTokenInvalid = "join_token_invalid"
  case certificateExpired = "certificate_expired"
  case certificateUntrusted = "certificate_untrusted"
  case unavailable = "unavailable"
  case rateLimited = "rate_limited"
  case timeout = "timeout"
  case `internal` = "internal"

  /// The HTTP status that goes with the code.
  public var status: Int {
    switch self {
    case .unknownField, .missingField, .wrongType, .outOfRange, .tooLong, .tooShort, .badFormat, .notOneOf,
      .duplicateItem, .unknownParameter, .badID, .badCursor, .badHTTP, .notJSON, .badEncoding, .bodyRequired,
      .limitsContradict:
      400
    case .unauthenticated, .tokenInvalid, .tokenExpired, .sessionInvalid, .sessionExpired, .loginFailed, .userDisabled,
      .joinTokenInvalid, .certificateExpired, .certificateUntrusted:
      401
    case .forbidden, .csrfRefused: 403
    case .notFound: 404
    case .methodNotAllowed: 405
    case .timeout: 408
    case .imageNotReady, .nameTaken, .inUse, .lastAdmin, .limitReached, .noCapacity, .quotaExceeded, .wrongState,
      .addressTaken, .addressesExhausted, .addressesOverlap, .uploadOffsetMismatch, .uploadInUse, .imageUnsuitable,
      .backupDamaged, .backupUnsupported, .encryptionUnsupported, .memoryUnsupported, .memoryMismatch:
      409
    case .eventsGone: 410
    case .preconditionFailed: 412
    case .bodyTooLarge: 413
    case .unsupportedMediaType: 415
    case .imageUnknown, .idempotencyKeyReused, .checksumMismatch, .uploadIncomplete, .imageInvalid, .urlRefused: 422
    case .rangeNotSatisfiable: 416
    case .rateLimited: 429
    case .internal: 500
    case .nodeUnreachable, .unavailable: 503
    }
  }

  /// The kind of error in a few words.
  public var title: String {
    switch self {
    case .unknownField: "Unknown field"
    case .missingField: "Missing field"
    case .wrongType: "Wrong type"
    case .outOfRange: "Out of range"
    case .tooLong: "Too long"
    case .tooShort: "Too short"
    case .badFormat: "Not in the expected format"
    case .notOneOf: "Not one of the allowed values"
    case .duplicateItem: "Given twice"
    case .unknownParameter: "Unknown parameter"
    case .badID: "Not an id of this kind"
    case .badCursor: "Not a cursor of this list"
    case .eventsGone: "Events no longer kept"
    case .badHTTP: "Malformed HTTP request"
    case .notJSON: "Not JSON"
    case .badEncoding: "Not UTF-8"
    case .bodyTooLarge: "Body too large"
    case .bodyRequired: "A body is required"
    case .unsupportedMediaType: "Unsupported media type"
    case .unauthenticated: "Not authenticated"
    case .tokenInvalid: "Token not valid"
    case .tokenExpired: "Token expired"
    case .sessionInvalid: "Session not valid"
    case .sessionExpired: "Session ended"
    case .loginFailed: "Login failed"
    case .userDisabled: "User disabled"
    case .csrfRefused: "Not sent by a page of Aloft"
    case .forbidden: "Not allowed"
    case .notFound: "Not found"
    case .methodNotAllowed: "Method not allowed"
    case .imageUnknown: "Unknown image"
    case .imageNotReady: "Image not ready"
    case .nameTaken: "Name taken"
    case .inUse: "In use"
    case .lastAdmin: "Last administrator"
    case .limitReached: "Limit reached"
    case .noCapacity: "No capacity"
    case .addressTaken: "Address taken"
    case .addressesExhausted: "No address left"
    case .addressesOverlap: "Addresses overlap"
    case .quotaExceeded: "Quota exceeded"
    case .wrongState: "Not possible in this state"
    case .preconditionFailed: "Changed in the meantime"
    case .idempotencyKeyReused: "Idempotency key used for another request"
    case .checksumMismatch: "Checksum mismatch"
    case .uploadIncomplete: "Upload incomplete"
    case .uploadOffsetMismatch: "The upload goes on elsewhere"
    case .uploadInUse: "Somebody else is uploading"
    case .imageInvalid: "Not a disk image"
    case .imageUnsuitable: "Image not suitable"
    case .backupDamaged: "Backup damaged"
    case .backupUnsupported: "Cannot be backed up"
    case .limitsContradict: "Limits contradict each other"
    case .encryptionUnsupported: "Not possible with encryption"
    case .memoryUnsupported: "Memory cannot be kept"
    case .memoryMismatch: "Not the machine whose memory it is"
    case .rangeNotSatisfiable: "No such range"
    case .urlRefused: "URL not allowed"
    case .nodeUnreachable: "Node unreachable"
    case .joinTokenInvalid: "Join token not valid"
    case .certificateExpired: "Certificate expired"
    case .certificateUntrusted: "Certificate not trusted"
    case .unavailable: "Not available now"
    case .rateLimited: "Too many requests"
    case .timeout: "Took too long"
    case .internal: "Internal error"
    }
  }
}
