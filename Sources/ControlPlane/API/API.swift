import AloftModel
import class Contract.Contract
import struct Contract.OperationMatch
import struct Contract.RequestRefusal
import struct Contract.ValidatedRequest
import Foundation
import HTTP
import HTTPTypes
import JSON
import Logging

/// The way of every request: route → authenticate and authorize → validate → handle → answer.
///
/// Invariants:
/// - An operation without a handler, and a handler without an operation, stop the start. So does an operation that is neither
///   open to all (`security: []`) nor names its permission: whatever is new is closed.
/// - A caller who may not call an operation learns nothing else about it: this comes before validation.
/// - Every answer carries the request id, every error is a problem document with a code of the closed list.
final class API: Sendable {
  /// For a whole body that is not streamed.
  private static let bodyTime = Duration.seconds(60)

  private let contract: Contract
  private let handlers: [String: Handler]
  private let permissions: [String: Permission]
  /// The operations that change something.
  private let changes: Set<String>
  private let agent: AgentAPI
  private let plane: Plane

  init(contract: Contract, handlers: HandlerTable, plane: Plane) throws {
    let (missing, extra) = contract.unbound(handlers: Set(handlers.handlers.keys))
    guard missing.isEmpty, extra.isEmpty else {
      throw StartFailure("operations without a handler: \(missing); handlers without an operation: \(extra)")
    }
    var permissions: [String: Permission] = [:]
    for operation in contract.operations { permissions[operation.id] = try Authorizer.permission(of: operation) }
    self.permissions = permissions
    changes = Set(
      contract.operations.filter {
        ![.get, .head].contains($0.method) && $0.extensions["x-aloft-read-only"]?.boolValue != true
      }.map(\.id))
    self.contract = contract
    self.handlers = handlers.handlers
    self.plane = plane
    agent = AgentAPI(plane: plane)
  }

  func respond(_ request: Request) async -> HTTP.Response {
    let requestID = requestID(of: request)
    let started = plane.environment.uptime()
    var reply: Reply
    var meter: RateLimiter.Verdict?
    var operationID = "none"
    do {
      if request.path.hasPrefix(AgentAPI.prefix) {
        operationID = "agent"
        reply = try await agent.respond(request, requestID: requestID)
      } else {
        let match = try route(request)
        operationID = match.operation.id
        do {
          reply = try await handle(match, request, requestID: requestID, &meter)
        } catch {
          reply = self.reply(to: error, requestID: requestID)
        }
        if plane.settings.validateResponses { reply = validated(reply, match, request, requestID) }
      }
    } catch {
      reply = self.reply(to: error, requestID: requestID)
    }
    reply.headers[.requestID] = requestID
    secure(&reply)
    if let meter { state(meter, in: &reply) }
    let seconds = plane.environment.uptime() - started
    plane.metrics.answered(operation: operationID, status: Int(reply.status.code), seconds: seconds)
    plane.logger.debug(
      "answered",
      metadata: [
        "request": "\(requestID)", "operation": "\(operationID)", "status": "\(reply.status.code)",
        "ms": "\(Int(seconds * 1000))",
      ])
    return reply.response
  }

  /// What keeps a browser from keeping an answer, or taking it for something else.
  private func secure(_ reply: inout Reply) {
    reply.headers[.xContentTypeOptions] = "nosniff"
    reply.headers[.strictTransportSecurity] = "max-age=31536000"
    if reply.headers[.cacheControl] == nil { reply.headers[.cacheControl] = "no-store" }
  }

  /// How the token stands, as in the IETF's draft on RateLimit header fields (draft-ietf-httpapi-ratelimit-headers-03).
  private func state(_ meter: RateLimiter.Verdict, in reply: inout Reply) {
    reply.headers[.rateLimitLimit] = "\(plane.authorizer.rates.limit?.burst ?? 0)"
    reply.headers[.rateLimitRemaining] = "\(meter.remaining)"
    reply.headers[.rateLimitReset] = "\(Int(meter.reset.rounded(.up)))"
  }

  private func route(_ request: Request) throws -> OperationMatch {
    switch contract.router.match(request.method, request.path) {
    case .match(let match): return match
    case .notFound: throw Problem(.notFound, "there is nothing at \(request.path); GET /docs shows what there is")
    case .methodNotAllowed(let allow): throw MethodNotAllowed(allow: allow)
    }
  }

  private func handle(
    _ match: OperationMatch, _ request: Request, requestID: String, _ meter: inout RateLimiter.Verdict?
  ) async throws -> Reply {
    let operation = match.operation
    var call = try await admitted(match, request, requestID: requestID, &meter)
    let valid = try await validate(match, request)
    guard let handler = handlers[operation.id] else { throw Problem(.internal, "no handler") }
    call.parameters = Dictionary(
      valid.parameters.names.compactMap { name in valid.parameters[name].map { (name, $0) } }, uniquingKeysWith: { $1 })
    (call.body, call.bodyBytes) = (valid.body, valid.bodyBytes)
    do {
      return try await handler(call)
    } catch {
      // A retry gets its answer where it takes its key. The world may have changed since the first try, or the first try itself
      // may have taken the last room: a retry that is refused has its answer all the same.
      guard !Task.isCancelled, Problem.of(error).status < 500, let stored = try await plane.storedAnswer(call) else {
        audit(error, call)
        throw error
      }
      return await plane.waited(call, stored)
    }
  }

  /// The call as far as it is known before its parameters and its body are looked at. Throws why the caller may not make it.
  private func admitted(
    _ match: OperationMatch, _ request: Request, requestID: String, _ meter: inout RateLimiter.Verdict?
  ) async throws -> Call {
    var call = Call(operationID: match.operation.id, request: request, requestID: requestID)
    if match.operation.security.isEmpty { return call }
    guard let permission = permissions[match.operation.id] else { throw Problem(.internal, "no permission") }
    let requirement = Authorizer.Requirement(
      permission: permission, credentials: Credentials(request.headers),
      project: contract.firstValue(of: "project", match, query: request.query))
    call.requirement = requirement
    if plane.authorizer.admission == .everybody {
      call.principal.cloudRole = .admin
      return call
    }
    call.principal = try await plane.authorizer.identify(requirement, from: request.peer.address)
    meter = call.principal.meterKey.flatMap { plane.authorizer.rates.take($0) }
    if let meter, !meter.isAllowed {
      let what = call.principal.session == nil ? "token" : "session"
      throw RateLimited(wait: meter.wait, detail: "the \(what) is used too often")
    }
    do {
      try CrossSite.check(request.head, of: call.principal, publicURL: plane.settings.publicURL)
      try call.principal.require(requirement)
    } catch {
      audit(error, call)
      throw error
    }
    return call
  }

  /// Records what a known caller was refused.
  private func audit(_ error: any Error, _ call: Call) {
    let code = Problem.of(error).code
    guard changes.contains(call.operationID), call.principal.means != nil, !call.isDryRun, AuditTrail.isOfInterest(code)
    else { return }
    plane.refusals.note(call, code: code)
  }

  private func validate(_ match: OperationMatch, _ request: Request) async throws -> ValidatedRequest {
    do {
      if match.operation.extensions["x-aloft-streams-body"]?.boolValue == true {
        return try contract.validateHead(match, query: request.query, headers: request.headers)
      }
      let bytes = try await request.body.collect(upTo: plane.settings.bodyLimit, within: Self.bodyTime)
      return try contract.validate(match, query: request.query, headers: request.headers, body: bytes)
    } catch let error as RequestRefusal {
      throw Problem.of(error)
    } catch let error as BodyError {
      throw Problem.of(error)
    }
  }

  /// The caller's own id if it is fit to be logged, else a new one.
  private func requestID(of request: Request) -> String {
    if let given = request.headers[header: "X-Request-Id"], (8...64).contains(given.utf8.count),
      given.utf8.allSatisfy({
        (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || $0 == 45 || $0 == 95
      })
    {
      return given
    }
    return "req_" + plane.environment.newSecret(words: 1)
  }

  /// Replaces an answer that breaks the contract: a bug of ours that a test must see.
  private func validated(
    _ reply: Reply, _ match: OperationMatch, _ request: Request, _ requestID: String
  ) -> Reply {
    var bytes: [UInt8] = []
    if case .bytes(let body) = reply.body { bytes = body }
    var headers = reply.headers
    headers[header: "X-Request-Id"] = requestID
    let violations = contract.validate(
      response: Int(reply.status.code), headers: headers, contentType: reply.contentType, body: bytes,
      for: match.operation)
    if violations.isEmpty { return reply }
    plane.logger.error(
      "the answer breaks the contract", metadata: ["request": "\(requestID)", "violations": "\(violations)"])
    var problem = Problem(
      .internal, "the answer breaks the contract: \(violations.map(\.description).joined(separator: "; "))")
    problem.requestId = requestID
    return .problem(problem)
  }

  private func reply(to error: any Error, requestID: String) -> Reply {
    var problem = Problem.of(error)
    problem.requestId = requestID
    if problem.status == 500 {
      plane.logger.error("a request failed", metadata: ["request": "\(requestID)", "error": "\(error)"])
    }
    if problem.status == 503, !Task.isCancelled {
      // A cancelled task means that the client has left: that is no news.
      plane.logger.warning("a request was turned away", metadata: ["request": "\(requestID)", "error": "\(error)"])
    }
    var reply = Reply.problem(problem)
    if let error = error as? RateLimited {
      reply.headers[.retryAfter] = "\(error.seconds)"
      if let limit = error.limit {
        reply.headers[.rateLimitLimit] = "\(limit)"
        reply.headers[.rateLimitRemaining] = "0"
        reply.headers[.rateLimitReset] = "\(error.seconds)"
      }
    }
    if let error = error as? RangeNotSatisfiable { reply.headers[.contentRange] = "bytes */\(error.size)" }
    if let error = error as? MethodNotAllowed {
      reply.headers[.allow] = error.allow.map(\.rawValue).joined(separator: ", ")
    }
    switch problem.code {
    case .unauthenticated, .tokenInvalid, .tokenExpired, .sessionInvalid, .sessionExpired, .loginFailed, .userDisabled:
      reply.headers[.wwwAuthenticate] = "Bearer realm=\"aloft\""
    case .certificateExpired, .certificateUntrusted:
      // An agent that has another one by now shows it on its next connection.
      reply.headers[.connection] = "close"
    case .unavailable, .nodeUnreachable: reply.headers[.retryAfter] = "1"
    default: break
    }
    return reply
  }
}

/// Why the control plane cannot start.
public struct StartFailure: Error, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}

/// A path that exists, with a method that it does not have.
struct MethodNotAllowed: Error {
  var allow: [HTTPRequest.Method]
}
