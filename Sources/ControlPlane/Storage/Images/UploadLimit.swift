import AloftModel

/// How large an upload may be. The database has the last word on the quota; this ends an upload as soon as it must fail.
struct UploadLimit: Sendable {
  /// The most that this server takes, in bytes.
  var most: Int
  /// What the project has of its image bytes.
  var usage: UsageRecord?
  /// What of that is the upload's own.
  var own = 0

  /// Throws the ``Problem`` of an upload of this many bytes.
  func require(_ bytes: Int) throws {
    if bytes > most {
      throw Problem(.bodyTooLarge, "the image is larger than the \(most) bytes that this server takes")
    }
    if let usage, let limit = usage.limit, usage.used - own + bytes > limit {
      throw Problem.quotaExceeded(
        QuotaRefusal(quota: usage.quota, limit: limit, used: usage.used - own, asked: bytes))
    }
  }
}
