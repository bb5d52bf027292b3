import CLibvirt
import Execution

/// Owns one reference to libvirt's connection object, which may be used by several threads at once.
///
/// Every use holds a reference of its own, so closing during a call is safe: libvirt's object goes with the last one.
final class ConnectionHandle: Sendable {
  /// The pointer's bits; 0 when closed. Pointers are not Sendable, libvirt's connections are by its documentation.
  private let bits: Lock<UInt>

  init(_ pointer: virConnectPtr) { bits = Lock(UInt(bitPattern: pointer)) }

  func use<Result>(_ body: (virConnectPtr) throws(LibvirtError) -> Result) throws(LibvirtError) -> Result {
    let address = bits.withLock { bits -> UInt in
      if let pointer = virConnectPtr(bitPattern: bits) { virConnectRef(pointer) }
      return bits
    }
    guard let pointer = virConnectPtr(bitPattern: address) else { throw LibvirtError.closed }
    defer { virConnectClose(pointer) }
    do throws(LibvirtError) {
      return try body(pointer)
    } catch {
      // A call cut off by a dying libvirtd fails as "internal error"; whether the socket is open needs no call.
      if error.code != .connectionLost, virConnectIsAlive(pointer) == 0 {
        throw LibvirtError(.connectionLost, domain: error.domain, message: error.message)
      }
      throw error
    }
  }

  /// May block: the last reference says goodbye to libvirtd.
  func close() {
    let address = bits.withLock { bits -> UInt in
      defer { bits = 0 }
      return bits
    }
    if let pointer = virConnectPtr(bitPattern: address) { virConnectClose(pointer) }
  }
}
