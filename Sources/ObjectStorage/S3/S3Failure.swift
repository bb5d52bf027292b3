/// An answer that is no success.
struct S3Failure {
  let status: Int
  /// S3's own name for it; empty for answers without a body, as those to `HEAD`.
  let code: String
  let message: String

  init(status: Int, body: [UInt8]) {
    let error = S3Element.parse(body)
    self.status = status
    code = error?.text("Code") ?? ""
    message = error?.text("Message") ?? ""
  }

  /// What to do about it.
  func attempt<Value>(of call: S3Client.Call) -> S3Client.Attempt<Value> {
    isPassing ? .again("the store answered \(summary)") : .failure(error(of: call))
  }

  private var summary: String { code.isEmpty ? "status \(status)" : "status \(status), \(code)" }

  private var isPassing: Bool {
    switch code {
    case "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted": true
    case "XMinioStorageFull", "QuotaExceeded": false
    default: [408, 429, 500, 502, 503, 504].contains(status)
    }
  }

  private func error(of call: S3Client.Call) -> ObjectStoreError {
    switch code {
    case "NoSuchUpload": return .unknownUpload
    case "NoSuchBucket": return .misconfigured("there is no such bucket")
    case "XMinioStorageFull", "QuotaExceeded": return .storeFull
    case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
      return .misconfigured("\(summary): \(message)")
    default: break
    }
    switch status {
    case 401, 403: return .accessDenied("\(call.name) was answered with \(summary)")
    case 404:
      guard let key = call.key, let key = try? ObjectKey(key) else { return .misconfigured("\(call.name): \(summary)") }
      return .notFound(key)
    case 412:
      guard let key = call.key, let key = try? ObjectKey(key) else { return .protocolViolation(summary) }
      return .changed(key)
    case 507: return .storeFull
    default: return .protocolViolation("\(call.name) was answered with \(summary)")
    }
  }
}
