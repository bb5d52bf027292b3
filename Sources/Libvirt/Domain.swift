import CLibvirt
import Foundation

/// A domain (a virtual machine, defined or running) on a connection, known by its UUID. Making one costs nothing and says
/// nothing about its existence: each call looks it up and throws `noDomain` if it is not there.
public struct Domain: Sendable {
  public let connection: Connection
  public let uuid: UUID

  public init(connection: Connection, uuid: UUID) {
    self.connection = connection
    self.uuid = uuid
  }

  func quick<Result: Sendable>(
    _ body: @escaping @Sendable (virDomainPtr) throws(LibvirtError) -> Result
  ) async throws(LibvirtError) -> Result {
    let uuid = uuid
    return try await connection.quick { connection throws(LibvirtError) in
      try Domain.withPointer(connection, uuid, body)
    }
  }

  func long<Result: Sendable>(
    _ body: @escaping @Sendable (virDomainPtr) throws(LibvirtError) -> Result
  ) async throws(LibvirtError) -> Result {
    let uuid = uuid
    return try await connection.long { connection throws(LibvirtError) in
      try Domain.withPointer(connection, uuid, body)
    }
  }

  static func withPointer<Result>(
    _ connection: virConnectPtr, _ uuid: UUID, _ body: (virDomainPtr) throws(LibvirtError) -> Result
  ) throws(LibvirtError) -> Result {
    let found = withUnsafeBytes(of: uuid.uuid) { bytes in
      bytes.withMemoryRebound(to: UInt8.self) { virDomainLookupByUUID(connection, $0.baseAddress) }
    }
    guard let domain = found else { throw LibvirtError.last() }
    defer { virDomainFree(domain) }
    return try body(domain)
  }

  static func uuid(of domain: virDomainPtr) -> UUID? {
    var raw = UUID_NULL
    let result = withUnsafeMutableBytes(of: &raw) { bytes in
      bytes.withMemoryRebound(to: UInt8.self) { virDomainGetUUID(domain, $0.baseAddress) }
    }
    return result == 0 ? UUID(uuid: raw) : nil
  }

  static func name(of domain: virDomainPtr) -> String { virDomainGetName(domain).map { String(cString: $0) } ?? "" }
}

private let UUID_NULL: uuid_t = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
