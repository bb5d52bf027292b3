import AloftModel
import CLinux
import Execution
import Glibc
import IPAddressing

/// What the kernel knows of this host's network devices and ways.
struct HostLinks: Sendable {
  private let thread = DedicatedThread(name: "links")

  /// Of the devices that are there: whether they take packets for any address, as those do that ovs-vswitchd has opened. One
  /// that came in place of another of the same name does not.
  func promiscuity(of devices: Set<String>) async -> [String: Bool] {
    await thread.run {
      let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else { return [:] }
      defer { close(descriptor) }
      return devices.reduce(into: [:]) { result, device in
        var request = ifreq()
        guard device.utf8.count < Int(IFNAMSIZ) else { return }
        withUnsafeMutableBytes(of: &request.ifr_ifrn) { $0.copyBytes(from: device.utf8) }
        guard ioctl(descriptor, UInt(SIOCGIFFLAGS), &request) == 0 else { return }
        result[device] = Int32(request.ifr_ifru.ifru_flags) & Int32(IFF_PROMISC) != 0
      }
    }
  }

  /// Keeps the host's kernel from speaking IPv6 on a device that belongs to a tenant: else its router solicitations, from an
  /// address of the host's, are seen in the tenant's network. Returns the devices for which that failed.
  func silence(_ devices: Set<String>) async -> Set<String> {
    await thread.run {
      devices.filter { device in
        let folder = "/proc/sys/net/ipv6/conf/\(device)/"
        // No kernel with IPv6, or no device any more: nothing speaks.
        guard access(folder, F_OK) == 0 else { return false }
        return !Self.write("1", to: folder + "addr_gen_mode") || !Self.write("1", to: folder + "disable_ipv6")
      }
    }
  }

  private static func write(_ text: String, to path: String) -> Bool {
    let file = open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    return Glibc.write(file, text, text.utf8.count) == text.utf8.count
  }

  /// The address from which this host would send to another; nothing is sent.
  func source(towards address: IPAddress) async -> IPAddress? {
    await thread.run {
      let family = address.isIPv6 ? AF_INET6 : AF_INET
      let descriptor = socket(family, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else { return nil }
      defer { close(descriptor) }
      var target = NumericSocketAddress(address, port: 9)
      guard target.withPointer({ connect(descriptor, $0, $1) }) == 0 else { return nil }
      var own = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      let code = withUnsafeMutablePointer(to: &own) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
      }
      return code == 0 ? withUnsafeBytes(of: own) { IPAddress(socketAddress: $0) } : nil
    }
  }

  /// Whether the kernel can switch packets by itself. Loads its module where that is possible.
  func kernelDatapath() async -> Bool {
    let module = "/sys/module/openvswitch"
    if await thread.run({ access(module, F_OK) == 0 }) { return true }
    _ = try? await Tool.run("modprobe", ["--quiet", "openvswitch"])
    return await thread.run { access(module, F_OK) == 0 }
  }
}

/// An IPv4 or IPv6 address and port for system calls.
struct NumericSocketAddress {
  private var storage = sockaddr_storage()
  private var length = socklen_t(0)

  /// `scope`: the number of the device that a link-local address is on.
  init(_ address: IPAddress, port: UInt16, scope: UInt32 = 0) {
    if address.isIPv6 {
      var value = sockaddr_in6()
      value.sin6_family = sa_family_t(AF_INET6)
      value.sin6_port = port.bigEndian
      value.sin6_scope_id = scope
      withUnsafeMutableBytes(of: &value.sin6_addr) { $0.copyBytes(from: address.bytes) }
      store(value)
    } else {
      var value = sockaddr_in()
      value.sin_family = sa_family_t(AF_INET)
      value.sin_port = port.bigEndian
      withUnsafeMutableBytes(of: &value.sin_addr) { $0.copyBytes(from: address.bytes) }
      store(value)
    }
  }

  private mutating func store<Address>(_ address: Address) {
    withUnsafeBytes(of: address) { source in
      withUnsafeMutableBytes(of: &storage) { $0.copyMemory(from: source) }
    }
    length = socklen_t(MemoryLayout<Address>.size)
  }

  var family: Int32 { Int32(storage.ss_family) }

  mutating func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    withUnsafePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
    }
  }
}
