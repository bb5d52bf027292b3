import CLibvirt
import Foundation
import FoundationXML

// Files with the memory of a guest (`virDomainSave`, external snapshots). Each begins with what libvirt needs to load it again.

/// What a file with the memory of a guest begins with.
public enum SavedMemory {
  /// All of it is there; while libvirt writes it, something else stands here.
  public static let completeMark: [UInt8] = Array("LibvirtQemudSave".utf8)

  /// A saved definition with the files of some disks replaced, which are found by their aliases. What lies below those is in the
  /// files themselves.
  public static func xml(
    _ saved: String, replacing files: [String: String]
  ) throws(LibvirtError) -> String {
    _ = try ParsedXML(saved)
    do {
      let document = try XMLDocument(xmlString: saved, options: [.nodeLoadExternalEntitiesNever])
      for case let disk as XMLElement in try document.nodes(forXPath: "/domain/devices/disk") {
        guard let alias = disk.elements(forName: "alias").first?.attribute(forName: "name")?.stringValue,
          let file = files[alias], let source = disk.elements(forName: "source").first
        else { continue }
        for name in ["file", "index"] { source.removeAttribute(forName: name) }
        guard let attribute = XMLNode.attribute(withName: "file", stringValue: file) as? XMLNode else { continue }
        source.addAttribute(attribute)
        for below in disk.elements(forName: "backingStore") { below.detach() }
      }
      return document.rootElement()?.xmlString ?? saved
    } catch {
      throw LibvirtError(.invalidXML, message: "not well-formed XML: \(error)")
    }
  }
}

extension Connection {
  /// The definition of the guest whose memory a file has; `virDomainSaveImageGetXMLDesc`.
  public func savedDefinition(in file: String) async throws(LibvirtError) -> String {
    try await long { connection throws(LibvirtError) in
      try takeString(virDomainSaveImageGetXMLDesc(connection, file, 0))
    }
  }

  /// Lets a guest go on from its memory in a file, or stand still there; `virDomainRestoreFlags`. The stored definition of the domain
  /// stays what it is.
  public func restore(_ file: String, definition: String, paused: Bool) async throws(LibvirtError) {
    let flags = paused ? VIR_DOMAIN_SAVE_PAUSED.rawValue : VIR_DOMAIN_SAVE_RUNNING.rawValue
    try await long { connection throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainRestoreFlags(connection, file, definition, flags))
    }
  }
}

extension Domain {
  /// Has the guest's agent set its clock. Throws `agentUnresponsive` without an agent.
  public func setTime(_ seconds: Int, nanoseconds: UInt32 = 0) async throws(LibvirtError) {
    try await long { domain throws(LibvirtError) in
      _ = try LibvirtError.check(virDomainSetTime(domain, Int64(seconds), nanoseconds, 0))
    }
  }
}
