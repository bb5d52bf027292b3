import CLibvirt
import Foundation

/// One line of ``Connection/domains(metadataNamespace:)``.
public struct DomainSummary: Sendable, Hashable {
  public let uuid: UUID
  public let name: String
  public let state: DomainState
  /// Whether it has a stored definition. A transient domain vanishes when it stops.
  public let isPersistent: Bool
  /// The element under the namespace asked for, as XML; nil if there is none.
  public let metadata: String?
}

extension Connection {
  /// The domain with this UUID; no call is made.
  public func domain(_ uuid: UUID) -> Domain { Domain(connection: self, uuid: uuid) }

  /// The domain of this name, or nil.
  public func domain(named name: String) async throws(LibvirtError) -> Domain? {
    let uuid = try await quick { connection throws(LibvirtError) in try Self.lookUp(connection, name: name) }
    return uuid.map { Domain(connection: self, uuid: $0) }
  }

  /// Stores a definition, or replaces the one of the same UUID, and returns its domain. A running guest is not changed.
  ///
  /// Throws `domainExists` if the name belongs to another UUID, `invalidXML` if libvirt does not understand the document;
  /// with `validate` (the default) an element that libvirt does not know is an error, too.
  public func define(_ xml: String, validate: Bool = true) async throws(LibvirtError) -> Domain {
    let uuid = try await quick { connection throws(LibvirtError) -> UUID in
      let flags = validate ? VIR_DOMAIN_DEFINE_VALIDATE.rawValue : 0
      guard let domain = virDomainDefineXMLFlags(connection, xml, flags) else {
        throw try Self.refined(LibvirtError.last(), connection, xml)
      }
      defer { virDomainFree(domain) }
      guard let uuid = Domain.uuid(of: domain) else { throw LibvirtError.last() }
      return uuid
    }
    return Domain(connection: self, uuid: uuid)
  }

  /// All domains, running or not, with their states: two calls for the list, one for each domain's metadata.
  ///
  /// A domain that goes away meanwhile is left out. To miss no change, start ``domainEvents()`` before this.
  public func domains(metadataNamespace: String? = nil) async throws(LibvirtError) -> [DomainSummary] {
    try await quick { connection throws(LibvirtError) in
      let persistent = try Self.persistentDomains(connection)
      return try DomainStats.records(connection, groups: VIR_DOMAIN_STATS_STATE.rawValue, flags: 0) {
        domain, parameters in
        guard let uuid = Domain.uuid(of: domain) else { return nil }
        let metadata = metadataNamespace.flatMap { namespace in
          // One namespace at a time is what libvirt offers; a missing element is an error there.
          try? takeString(
            virDomainGetMetadata(domain, Int32(VIR_DOMAIN_METADATA_ELEMENT.rawValue), namespace, 0))
        }
        return DomainSummary(
          uuid: uuid, name: Domain.name(of: domain),
          state: DomainState(state: Int(parameters["state.state"] ?? 0), reason: Int(parameters["state.reason"] ?? 0)),
          isPersistent: persistent.contains(uuid), metadata: metadata)
      }
    }
  }

  /// The XML of all domains that run. One that ends meanwhile is left out.
  public func activeDomainXML() async throws(LibvirtError) -> [String] {
    try await quick { connection throws(LibvirtError) in
      var list: UnsafeMutablePointer<virDomainPtr?>?
      let count = try LibvirtError.check(
        virConnectListAllDomains(connection, &list, VIR_CONNECT_LIST_DOMAINS_ACTIVE.rawValue))
      defer { free(list) }
      var found: [String] = []
      var failure: LibvirtError?
      for case let domain? in UnsafeBufferPointer(start: list, count: Int(count)) {
        do throws(LibvirtError) { found.append(try takeString(virDomainGetXMLDesc(domain, 0))) } catch {
          if error.code != .noDomain { failure = error }
        }
        virDomainFree(domain)
      }
      if let failure { throw failure }
      return found
    }
  }

  private static func persistentDomains(_ connection: virConnectPtr) throws(LibvirtError) -> Set<UUID> {
    var list: UnsafeMutablePointer<virDomainPtr?>?
    let count = try LibvirtError.check(
      virConnectListAllDomains(connection, &list, VIR_CONNECT_LIST_DOMAINS_PERSISTENT.rawValue))
    defer { free(list) }
    var uuids: Set<UUID> = []
    for case let domain? in UnsafeBufferPointer(start: list, count: Int(count)) {
      if let uuid = Domain.uuid(of: domain) { uuids.insert(uuid) }
      virDomainFree(domain)
    }
    return uuids
  }

  private static func lookUp(_ connection: virConnectPtr, name: String) throws(LibvirtError) -> UUID? {
    guard let domain = virDomainLookupByName(connection, name) else {
      let error = LibvirtError.last()
      if error.code == .noDomain { return nil }
      throw error
    }
    defer { virDomainFree(domain) }
    return Domain.uuid(of: domain)
  }

  /// libvirt reports a name in use as plain `operationFailed`, and in its process's language: look instead of reading.
  private static func refined(
    _ error: LibvirtError, _ connection: virConnectPtr, _ xml: String
  ) throws(LibvirtError) -> LibvirtError {
    guard error.code == .operationFailed, let document = try? ParsedXML(xml), let name = document.text("/domain/name"),
      let holder = try lookUp(connection, name: name), document.text("/domain/uuid").flatMap(UUID.init) != holder
    else { return error }
    return LibvirtError(.domainExists, domain: error.domain, message: error.message)
  }
}
