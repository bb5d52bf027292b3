import AloftModel
import Foundation
import JSON
import Postgres

/// Limits as somebody set them: for all projects, or for one.
struct QuotaRecord: Sendable, JSONWritable {
  /// A JSON object of limits by quota, passed through.
  var limits: String
  /// 0: nobody has set any.
  var revision: Int

  var etag: String { "\"\(revision)\"" }

  init(limits: String, revision: Int) {
    self.limits = limits
    self.revision = revision
  }

  init(_ row: Row) throws {
    self.init(limits: try row.get(0, as: JSONText.self).text, revision: try row.get(1))
  }

  func write(to writer: inout JSONWriter) { writer.raw(limits) }
}

/// How much a project has of what a quota limits.
struct UsageRecord: Sendable, JSONWritable {
  var quota: Quota
  var used: Int
  /// Nil: there is none.
  var limit: Int?
  var isDefault: Bool

  init(_ row: Row) throws {
    quota = try row.get(0)
    used = try row.get(1)
    limit = try row.get(2)
    isDefault = try row.get(3)
  }

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("quota", quota)
      writer.field("used", used)
      writer.field("limit", limit)
      writer.field("is_default", isDefault)
    }
  }
}

extension QuotaRefusal: JSONWritable {
  /// What a trigger has refused; nil when the error is another one.
  init?(_ error: PostgresError) {
    guard error.isCheckViolation("within_quota"), let detail = error.detail,
      let refusal = try? JSONCoder.decode(QuotaRefusal.self, from: try JSONValue.parse(detail))
    else { return nil }
    self = refusal
  }

  public func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("quota", quota)
      writer.field("limit", limit)
      writer.field("used", used)
      writer.field("asked", asked)
    }
  }
}

extension Problem {
  static func quotaExceeded(_ refusal: QuotaRefusal) -> Problem {
    Problem(
      .quotaExceeded,
      """
      the project's quota of \(refusal.quota.rawValue) is \(refusal.limit): \(refusal.used) are used and \
      \(refusal.asked) more were asked for; delete what is not needed, or ask an operator for more
      """, quota: refusal)
  }
}
