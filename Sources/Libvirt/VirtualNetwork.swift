import CLibvirt

/// A network of libvirt's own (a bridge with DHCP, a pool of host devices …), known by its name. Each call looks it up and
/// throws `noNetwork` if it is not there.
public struct VirtualNetwork: Sendable {
  public let connection: Connection
  public let name: String

  public init(connection: Connection, name: String) {
    self.connection = connection
    self.name = name
  }

  private func withPointer<Result: Sendable>(
    _ body: @escaping @Sendable (virNetworkPtr) throws(LibvirtError) -> Result
  ) async throws(LibvirtError) -> Result {
    let name = name
    return try await connection.long { connection throws(LibvirtError) in
      guard let network = virNetworkLookupByName(connection, name) else { throw LibvirtError.last() }
      defer { virNetworkFree(network) }
      return try body(network)
    }
  }

  public func isActive() async throws(LibvirtError) -> Bool {
    try await withPointer { network throws(LibvirtError) in try LibvirtError.check(virNetworkIsActive(network)) == 1 }
  }

  public func start() async throws(LibvirtError) {
    try await withPointer { network throws(LibvirtError) in _ = try LibvirtError.check(virNetworkCreate(network)) }
  }

  public func stop() async throws(LibvirtError) {
    try await withPointer { network throws(LibvirtError) in _ = try LibvirtError.check(virNetworkDestroy(network)) }
  }

  public func undefine() async throws(LibvirtError) {
    try await withPointer { network throws(LibvirtError) in _ = try LibvirtError.check(virNetworkUndefine(network)) }
  }

  public func xml() async throws(LibvirtError) -> String {
    try await withPointer { network throws(LibvirtError) in try takeString(virNetworkGetXMLDesc(network, 0)) }
  }
}

extension Connection {
  /// The network of this name; no call is made.
  public func network(_ name: String) -> VirtualNetwork { VirtualNetwork(connection: self, name: name) }

  /// Stores a network's definition. It is not started by this.
  public func defineNetwork(_ xml: String) async throws(LibvirtError) -> VirtualNetwork {
    let name = try await long { connection throws(LibvirtError) -> String in
      guard let network = virNetworkDefineXML(connection, xml) else { throw LibvirtError.last() }
      defer { virNetworkFree(network) }
      return virNetworkGetName(network).map { String(cString: $0) } ?? ""
    }
    return VirtualNetwork(connection: self, name: name)
  }

  /// All networks, active or not.
  public func networks() async throws(LibvirtError) -> [VirtualNetwork] {
    let names = try await quick { connection throws(LibvirtError) -> [String] in
      var list: UnsafeMutablePointer<virNetworkPtr?>?
      let count = try LibvirtError.check(virConnectListAllNetworks(connection, &list, 0))
      return takeList(list, count, name: virNetworkGetName) { virNetworkFree($0) }
    }
    return names.map { VirtualNetwork(connection: self, name: $0) }
  }
}
