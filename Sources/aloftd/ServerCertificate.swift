import ControlPlane
import Foundation
import HTTP
import Logging

/// Keeps what the listeners show and whom they trust as it should be: follows the cloud's authorities, and renews the
/// certificate that this replica gave itself. Its key is in memory only.
actor ServerCertificate {
  enum Source: Sendable {
    /// An operator's.
    case files(certificate: String, key: String)
    /// The authority's, for these names.
    case own(names: [String])
  }

  static let tick = Duration.seconds(2)
  private static let lifetime: TimeInterval = 90 * 24 * 3600

  private let source: Source
  private var followed: AuthoritySet?
  private var renewAt = Date.distantFuture

  init(_ source: Source) { self.source = source }

  /// What is to be used from now on; nil: what is used already.
  func change(to authorities: AuthoritySet, now: Date) throws -> TLSConfiguration? {
    if let followed, followed.isSame(as: authorities), now < renewAt { return nil }
    let clients = PEMSource.text(authorities.anchors.authorities)
    let configuration: TLSConfiguration
    switch source {
    case .files(let certificate, let key):
      configuration = TLSConfiguration(
        certificateChain: .file(certificate), privateKey: .file(key), clientAuthorities: clients,
        clientCertificate: .optional)
    case .own(let names):
      let made = try authorities.signer.issueServer(names: names, now: now, lifetime: Self.lifetime)
      configuration = TLSConfiguration(
        certificateChain: .text(made.certificatePEM), privateKey: .text(made.privateKeyPEM),
        clientAuthorities: clients, clientCertificate: .optional)
      renewAt = now.addingTimeInterval(Self.lifetime * 2 / 3)
    }
    followed = authorities
    return configuration
  }

  /// Runs until cancelled.
  func keep(_ server: Server, of plane: ControlPlane, logger: Logger) async {
    while !Task.isCancelled {
      do {
        try await Task.sleep(for: Self.tick)
        if let configuration = try change(to: try await plane.authorities(), now: Date()) {
          try server.use(configuration)
          logger.notice("new connections see other certificates or authorities")
        }
      } catch is CancellationError {
        return
      } catch {
        // Tried again: nothing of what is used has changed.
        followed = nil
        logger.warning("the listeners' certificates could not be changed", metadata: ["error": "\(error)"])
      }
    }
  }
}
