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

  /// Joins with a one-time token. Tries for as long as it takes, but throws `controlPlaneRefused` when the control plane
  /// answered that this cannot work, as with a token that is used up.
  public func join(name: String, token: String, report: NodeReport) async throws -> NodeIdentity {
    let request = JoinRequest(
      token: token, name: name, certificateRequest: try await store.certificateRequest(name: name),
      report: report)
    var wait = 500
    while true {
      do throws(AgentFailure) {
        let identity = try await store.keep(try await link.join(request))
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
