import AloftModel
import struct Contract.RequestRefusal
import struct Contract.Violation
import Foundation
import HTTP
import HTTPTypes
import JSON
import Postgres

extension Problem {
  /// What a client is told about any error. What is not known is our bug: 500, without details.
  static func of(_ error: any Error) -> Problem {
    switch error {
    case let problem as Problem: problem
    case let refusal as RequestRefusal: of(refusal)
    case let error as BodyError: of(error)
    case let error as PostgresError: QuotaRefusal(error).map(quotaExceeded) ?? of(error)
    case let error as MethodNotAllowed:
      Problem(.methodNotAllowed, "this path takes \(error.allow.map(\.rawValue).joined(separator: ", "))")
    case let error as RangeNotSatisfiable:
      Problem(
        .rangeNotSatisfiable, "the content has only \(error.size) bytes; ask for a range that begins before its end")
    case let error as RateLimited: Problem(.rateLimited, "\(error.detail); try again in \(error.seconds) s")
    case is CancellationError: Problem(.unavailable, "the request was broken off")
    default: Problem(.internal, "something went wrong on our side; the request id finds it in the logs")
    }
  }

  private static func of(_ error: PostgresError) -> Problem {
    if error.isCheckViolation("project_stays") {
      return Problem(.wrongState, "the project is being deleted with all that it holds; nothing can come into it")
    }
    if error.isForeignKeyViolation() {
      // What a handler has looked up is not locked until its row refers to it.
      return Problem(
        .wrongState,
        "something that this refers to was deleted a moment ago, or something has come to refer to it; look again")
    }
    return of(error.kind)
  }

  private static func of(_ kind: PostgresError.Kind) -> Problem {
    switch kind {
    case .connectFailed, .connectionLost, .poolExhausted, .shutDown, .timeout, .cancelled:
      Problem(.unavailable, "the database cannot be reached now; nothing was changed, try again")
    case .outcomeUnknown:
      Problem(
        .unavailable,
        "the database fell silent during the commit; the change may or may not have happened. Retry with the same Idempotency-Key, or look"
      )
    case .server(let state) where ["57P01", "57P02", "57P03", "53300"].contains(state.rawValue):
      Problem(.unavailable, "the database is going down or coming up; nothing was changed, try again")
    default: Problem(.internal, "something went wrong on our side; the request id finds it in the logs")
    }
  }

  private static func of(_ error: BodyError) -> Problem {
    switch error {
    case .tooLarge(let limit): Problem(.bodyTooLarge, "the body is larger than the \(limit) bytes that are taken here")
    case .malformed(let detail): Problem(.badHTTP, detail)
    case .timedOut: Problem(.timeout, "the body did not come in time")
    case .incomplete, .cancelled, .unavailable: Problem(.uploadIncomplete, "the body broke off")
    }
  }

  private static func of(_ refusal: RequestRefusal) -> Problem {
    let errors = refusal.violations.map { violation in
      let (pointer, parameter): (String?, String?) =
        switch violation.location {
        case .body(let pointer): (pointer.description, nil)
        case .query(let name), .path(let name), .header(let name): (nil, name)
        case .status: (nil, nil)
        }
      return FieldError(
        code: code(of: violation), detail: violation.message, pointer: pointer, parameter: parameter)
    }
    let first = refusal.violations.first
    let more = errors.count > 1 ? " (and \(errors.count - 1) more, see errors)" : ""
    return Problem(
      errors.first?.code ?? .badFormat, (first?.description ?? "the request breaks the contract") + more, errors: errors
    )
  }

  private static func code(of violation: Violation) -> ProblemCode {
    switch violation.kind {
    case .unknownField, .readOnly, .writeOnly: return .unknownField
    case .unknownParameter: return .unknownParameter
    case .missing: return violation.location == .body([]) ? .bodyRequired : .missingField
    case .wrongType: return .wrongType
    case .outOfRange: return .outOfRange
    case .tooLong, .tooMany, .tooComplex: return .tooLong
    case .tooShort, .tooFew: return .tooShort
    case .patternMismatch:
      switch violation.location {
      case .path, .query("resource"): return .badID
      case .query("cursor"): return .badCursor
      default: return .badFormat
      }
    case .badFormat, .nullCharacter, .forbidden, .unexpectedBody, .undocumentedStatus: return .badFormat
    case .notOneOf: return .notOneOf
    case .malformed:
      if case .body = violation.location { return violation.message.contains("UTF-8") ? .badEncoding : .notJSON }
      return .badFormat
    case .duplicate: return .duplicateItem
    case .unsupportedMediaType: return .unsupportedMediaType
    }
  }
}

extension Problem: JSONWritable {
  public func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("type", type)
      writer.field("title", title)
      writer.field("status", status)
      writer.field("code", code)
      writer.field("detail", detail)
      writer.field("request_id", requestId)
      if let errors {
        writer.key("errors")
        writer.array { writer in
          for error in errors {
            writer.object { writer in
              writer.field("code", error.code)
              writer.field("detail", error.detail)
              writer.fieldIfPresent("pointer", error.pointer)
              writer.fieldIfPresent("parameter", error.parameter)
            }
          }
        }
      }
      if let refusal {
        writer.key("refusal")
        refusal.write(to: &writer)
      }
      if let quota {
        writer.key("quota")
        quota.write(to: &writer)
      }
      if let image {
        writer.key("image")
        writer.object { writer in
          writer.field("code", image.code)
          writer.fieldIfPresent("offset", image.offset)
        }
      }
      writer.fieldIfPresent("upload_offset", uploadOffset)
    }
  }
}

extension Reply {
  static func problem(_ problem: Problem) -> Reply {
    var reply = Reply(
      status: .init(code: problem.status), contentType: "application/problem+json", body: .bytes(problem.jsonBytes))
    if let offset = problem.uploadOffset { reply.headers[.uploadOffset] = "\(offset)" }
    return reply
  }
}
