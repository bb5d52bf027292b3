import CLinux
import Execution
import Glibc
import IPAddressing

/// Network namespaces by name, as ip-netns(8) keeps them.
enum NetworkNamespace {
  static let folder = "/run/netns"

  static func path(_ name: String) -> String { folder + "/" + name }

  /// Runs `body` inside, on a thread that ends with it: the thread never comes back out.
  static func run<Result: Sendable>(
    in name: String, _ body: @escaping @Sendable () throws(AgentFailure) -> Result
  ) async throws(AgentFailure) -> Result {
    try await DedicatedThread(name: "netns").run { () throws(AgentFailure) in
      let descriptor = open(path(name), O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw FileSystem.failure("opening the network namespace", path(name)) }
      defer { close(descriptor) }
      guard setns(descriptor, 0x4000_0000) == 0 else { throw FileSystem.failure("entering", path(name)) }
      return try body()
    }
  }

  /// Whether it is there and can be entered. A name that is left of a namespace that is gone cannot.
  static func exists(_ name: String) async -> Bool {
    do throws(AgentFailure) {
      try await run(in: name) { () throws(AgentFailure) in }
      return true
    } catch { return false }
  }

  /// A socket that listens in the namespace of the calling thread.
  ///
  /// - Parameter device: on which a link-local address is.
  static func listen(on address: IPAddress, port: UInt16, device: String) throws(AgentFailure) -> Int32 {
    let descriptor = try bound(SOCK_STREAM, to: address, port: port, device: device)
    guard Glibc.listen(descriptor, 256) == 0 else {
      let failure = FileSystem.failure("listening on", "\(address)")
      close(descriptor)
      throw failure
    }
    return descriptor
  }

  /// A socket that receives datagrams in the namespace of the calling thread; parameters as above.
  static func receive(on address: IPAddress, port: UInt16, device: String) throws(AgentFailure) -> Int32 {
    try bound(SOCK_DGRAM, to: address, port: port, device: device)
  }

  private static func bound(
    _ type: __socket_type, to address: IPAddress, port: UInt16, device: String
  ) throws(AgentFailure) -> Int32 {
    var target = NumericSocketAddress(address, port: port, scope: if_nametoindex(device))
    let descriptor = socket(
      target.family, Int32(type.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw FileSystem.failure("making a socket for", "\(address)") }
    if type == SOCK_STREAM {
      var one: Int32 = 1
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
    }
    guard target.withPointer({ bind(descriptor, $0, $1) }) == 0 else {
      let failure = FileSystem.failure("binding a socket to", "\(address)")
      close(descriptor)
      throw failure
    }
    return descriptor
  }
}
