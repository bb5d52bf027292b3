import AloftModel
import Logging

/// Makes a host a node, and keeps it one.
public struct Enrolment: Sendable {
  public var store: IdentityStore
  public var link: any ControlPlaneLink
  public var clock: any AgentClock
  public var logger: Logger

  public init(
    store: IdentityStore, link: any ControlPlaneLink, clock: any AgentClock, logger: Logger
  ) {
    self.store = store
    self.link = link
    self.clock = clock
    self.logger = logger
  }

  /// The longest wait between two attempts to join, in milliseconds.
  private static let patience = 30_000

  /// The node's identity: the one that it has, or the one that `token` gives it.
  ///
  /// A token that was not used yet is used though there is a certificate: the node may have been removed, and only the
  /// control plane knows. If it refuses the token, a certificate that is still valid goes on being used.
  public func identify(name: String, token: String?, report: NodeReport) async throws -> NodeIdentity {
    let known = try await store.load()
    guard let token else {
      guard let known else {
        throw AgentFailure(
          .controlPlaneRefused,
          "this host has not joined yet: make a join token and start the agent with ALOFT_AGENT_JOIN_TOKEN set to it")
      }
      return known
    }
    // An expired certificate cannot renew itself, and joining again with the same key gives the same node.
    guard let known, known.validity.notAfter > clock.now().wall else {
      return try await join(name: name, token: token, report: report)
    }
    if await store.joined(with: token) { return known }
    do { return try await join(name: name, token: token, report: report) } catch let failure as AgentFailure {
      guard failure.kind == .controlPlaneRefused else { throw failure }
      logger.warning(
        "the join token was refused; going on with the certificate of before",
        metadata: ["node": "\(known.id)", "failure": "\(failure)"])
      return known
    }
  }

  /// Joins with a one-time token. Tries for as long as it takes, but throws `controlPlaneRefused` when the control plane
  /// answered that this cannot work, as with a token that is used up.
  public func join(name: String, token: String, report: NodeReport) async throws -> NodeIdentity {
    let request = JoinRequest(
      token: token, name: name, certificateRequest: try await store.certificateRequest(name: name),
      report: report)
    var wait = 500
    while true {
      do throws(AgentFailure) {
        let identity = try await store.keep(try await link.join(request), token: token)
        logger.info("joined", metadata: ["node": "\(identity.id)", "name": "\(name)"])
        return identity
      } catch {
        guard error.kind == .controlPlaneUnavailable else { throw error }
        logger.warning("cannot join yet, trying again", metadata: ["failure": "\(error)"])
      }
      try await clock.sleep(until: clock.now().uptime + wait)
      wait = min(wait * 2, Self.patience)
    }
  }

  /// Gets a new certificate for the same key.
  public func renew(name: String) async throws(AgentFailure) -> CertificateValidity {
    let request = RenewRequest(certificateRequest: try await store.certificateRequest(name: name))
    let identity = try await store.keep(try await link.renew(request))
    logger.info("certificate renewed", metadata: ["node": "\(identity.id)"])
    return identity.validity
  }
}
