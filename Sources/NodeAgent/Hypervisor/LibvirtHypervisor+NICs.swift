import AloftModel
import Foundation
import Libvirt

extension LibvirtHypervisor {
  public func nics(of vm: VMID) async throws(AgentFailure) -> [DomainNIC] {
    let xml = try await call(vm) { domain throws(LibvirtError) -> String? in
      try await domain.isActive() ? try await domain.xml() : nil
    }
    guard let xml else { return [] }
    do throws(LibvirtError) { return try DomainNIC.all(inDomain: xml) } catch { throw AgentFailure(error) }
  }

  public func plug(_ nic: NICSpecification, into vm: VMID) async throws(AgentFailure) {
    let element = nic.element.string
    try await call(vm) { domain throws(LibvirtError) in try await domain.attach(element, affect: .live) }
  }

  public func unplug(_ nic: NICID, from vm: VMID) async throws(AgentFailure) {
    try await detach(alias: NICSpecification.alias(of: nic), from: vm)
  }

  func detach(alias: String, from vm: VMID) async throws(AgentFailure) {
    try await call(vm) { domain throws(LibvirtError) in
      do throws(LibvirtError) { try await domain.detach(alias: alias, affect: .live) } catch {
        // It is gone, or QEMU still waits for the guest's answer to an earlier request.
        guard error.code == .deviceMissing || error.message.contains("in the process of unplug") else { throw error }
      }
    }
  }
}

extension DomainNIC {
  /// What a domain's XML has of interfaces that Open vSwitch knows by a UUID.
  static func all(inDomain xml: String) throws(LibvirtError) -> [DomainNIC] {
    try ParsedXML(xml).all("/domain/devices/interface[virtualport/@type='openvswitch']").compactMap { element in
      guard let id = element.text("virtualport/parameters/@interfaceid").flatMap(UUID.init(uuidString:)),
        let mac = element.text("mac/@address")
      else { return nil }
      return DomainNIC(id: NICID(id), mac: mac)
    }
  }
}
