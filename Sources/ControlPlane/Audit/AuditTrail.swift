import AloftModel
import Foundation
import JSON
import Postgres

/// What is written about who changed what.
///
/// Invariants:
/// - An accepted change has its record in its own transaction.
/// - A change that a known caller was refused, other than for the form of the request, has one too, a moment later
///   (``RefusalLog``). Strangers leave none: they could fill the table.
/// - No record holds a secret.
enum AuditTrail {
  /// Members of request bodies that are secret or may hold secrets, wherever they stand.
  static let masked: Set<String> = ["password", "current_password", "secret", "token", "user_data"]
  /// Longer bodies are left out; labels and keys of a create fit.
  static let mostRequestBytes = 8 << 10

  static let columns: SQL =
    "actor, user_id, user_name, token_id, session_id, peer, request_id, operation, project_id, resource_id, refusal, request"

  /// The values of ``columns`` for a call.
  static func values(_ call: Call, project: SQL, resource: SQL, refusal: ProblemCode? = nil) -> SQL {
    let principal = call.principal
    return """
      \(principal.name), \(principal.user), \(principal.user == nil ? nil : principal.userName), \(principal.token),
      \(principal.session), \(call.request.peer.address), \(call.requestID), \(call.operationID), \(fragment: project), \(fragment: resource),
      \(refusal?.rawValue), \(request(of: call.body))::jsonb
      """
  }

  /// Records an accepted change in the session's transaction.
  static func accepted(_ call: Call, project: ProjectID?, resource: UUID?, in session: Session) throws {
    _ = try session.execute(
      """
      INSERT INTO audit (\(fragment: columns))
      VALUES (\(fragment: values(call, project: "\(project)::uuid", resource: "\(resource)::uuid")))
      """)
  }

  /// The statement that records a refused one.
  static func refusing(_ call: Call, code: ProblemCode) -> SQL {
    let project: SQL = call.requirement?.permission.scope == .project ? ProjectStore.id(call) : "NULL::uuid"
    return """
      INSERT INTO audit (\(fragment: columns))
      VALUES (\(fragment: values(call, project: project, resource: "NULL::uuid", refusal: code)))
      """
  }

  /// Records what a node did with a join token.
  static func joined(_ node: NodeID, peer: String, requestID: String, in session: Session) throws {
    _ = try session.execute(
      """
      INSERT INTO audit (actor, peer, request_id, operation, resource_id)
      VALUES ('join-token', \(peer), \(requestID), 'joinNode', \(node))
      """)
  }

  /// Whether a refusal is worth a record: it is about the caller or the state of things, not about the request's form.
  static func isOfInterest(_ code: ProblemCode) -> Bool { [403, 404, 409, 412, 422].contains(code.status) }

  /// The body with its secrets masked; nil when there was none.
  static func request(of body: JSONValue?) -> JSONText? {
    guard let body else { return nil }
    let bytes = mask(body).bytes
    guard bytes.count <= mostRequestBytes else {
      return JSONText(#"{"omitted_bytes":\#(bytes.count)}"#)
    }
    return JSONText(String(decoding: bytes, as: UTF8.self))
  }

  private static func mask(_ value: JSONValue) -> JSONValue {
    if let items = value.arrayValue { return .array(items.map(mask)) }
    guard let object = value.objectValue else { return value }
    var result = JSONObject()
    for (name, member) in object {
      if name == "url", let text = member.stringValue, let query = text.firstIndex(of: "?") {
        // Signed URLs carry their permission there.
        result[name] = .string(text[..<query] + "?***")
      } else {
        result[name] = masked.contains(name) && member != .null ? "***" : mask(member)
      }
    }
    return .object(result)
  }
}
