import AloftModel
import Glibc
import IPAddressing

/// Answers DNS queries at the metadata addresses of networks that have a domain, by ``NameAnswer``.
///
/// Over UDP alone. OVN answers nothing over TCP, and of a name that it has nobody else may say that there is nothing: there a
/// connection that is refused is the right answer.
actor NameServer {
  private static let port: UInt16 = 53

  private let clock: any AgentClock
  private var loop: NameLoop?
  /// What is served, and by which sockets.
  private var served: [NetworkID: (network: MetadataNetwork, sockets: [Int32])] = [:]

  init(clock: any AgentClock) { self.clock = clock }

  deinit { loop?.stop() }

  /// Serves a network as it is now. May be repeated.
  func serve(_ network: MetadataNetwork, namespace: String) async throws(AgentFailure) {
    guard served[network.id]?.network != network else { return }
    await leave(network.id)
    guard let domain = network.dnsDomain.flatMap(NameDomain.init) else { return }
    let texts =
      [MetadataNetwork.ipv4, MetadataNetwork.ipv6] + network.addresses.map { String($0.prefix { $0 != "/" }) }
    let addresses = texts.compactMap { IPAddress($0) }.filter { !$0.isIPv6 || MetadataNetwork.kernelKnowsIPv6 }
    let loop = try startedLoop()
    var sockets: [Int32] = []
    do throws(AgentFailure) {
      for address in addresses {
        let socket = try await NetworkNamespace.run(in: namespace) { () throws(AgentFailure) in
          try NetworkNamespace.receive(on: address, port: Self.port, device: MetadataNetwork.innerDevice)
        }
        do throws(AgentFailure) { try loop.open(socket, domain) } catch {
          close(socket)
          throw error
        }
        sockets.append(socket)
      }
    } catch {
      await loop.close(sockets)
      throw error
    }
    served[network.id] = (network, sockets)
  }

  /// Serves it no more. When this returns the sockets are closed.
  func leave(_ network: NetworkID) async {
    guard let sockets = served.removeValue(forKey: network)?.sockets else { return }
    await loop?.close(sockets)
  }

  /// Serves nothing any more.
  func stop() {
    served = [:]
    loop?.stop()
    loop = nil
  }

  private func startedLoop() throws(AgentFailure) -> NameLoop {
    if let loop { return loop }
    let new = try NameLoop(clock: clock)
    new.start()
    loop = new
    return new
  }
}
