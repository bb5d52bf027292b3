import CLibvirt
import Execution
import Glibc

/// A guest's serial console, open for reading and writing, on a connection of its own.
///
/// Data moves on libvirt's event thread without blocking, so a console costs no waiting thread. A reader that falls behind
/// by ``outputBufferSize`` pieces is disconnected, never skipped.
public final class Console: Sendable {
  /// What the guest writes, in pieces as they come. Ends when the guest stops, when someone else opens the console by
  /// force, or when the connection is lost. Ending the iteration closes the console.
  public let output: AsyncStream<[UInt8]>
  private let connection: Connection
  private let core: ConsoleCore

  /// How many pieces (64 KiB at most each) wait for a slow reader.
  public static let outputBufferSize = 256
  /// How many bytes wait for a guest that does not read.
  public static let inputBufferSize = 65_536

  init(connection: Connection, core: ConsoleCore, output: AsyncStream<[UInt8]>) {
    self.connection = connection
    self.core = core
    self.output = output
  }

  /// Sends bytes to the guest as if typed. Returns before they arrive.
  ///
  /// Throws `resourceBusy` if the guest has not read the bytes before, `connectionLost` when the console is closed.
  public func write(_ bytes: [UInt8]) async throws(LibvirtError) {
    let core = core
    try await connection.quick { _ throws(LibvirtError) in try core.write(bytes) }
  }

  /// Closes the console; ``output`` ends.
  public func close() async {
    let core = core
    _ = try? await connection.quick { _ throws(LibvirtError) in core.close() }
    await connection.close()
  }
}

extension Domain {
  /// Opens the serial console of a running guest: the first one, or the device of this alias.
  ///
  /// A console has one user. Throws `operationFailed` if there is one, unless `force` disconnects it.
  public func openConsole(device: String? = nil, force: Bool = false) async throws(LibvirtError) -> Console {
    var options = Connection.Options()
    options.longCallThreads = 0
    let own = try await Connection.open(connection.uri, options: options, logger: connection.logger)
    let flags = force ? VIR_DOMAIN_CONSOLE_FORCE.rawValue : VIR_DOMAIN_CONSOLE_SAFE.rawValue
    let (output, continuation) = AsyncStream.makeStream(
      of: [UInt8].self, bufferingPolicy: .bufferingOldest(Console.outputBufferSize))
    let core: ConsoleCore
    do throws(LibvirtError) {
      core = try await own.domain(uuid).quick { domain throws(LibvirtError) in
        guard let stream = virStreamNew(virDomainGetConnect(domain), VIR_STREAM_NONBLOCK.rawValue) else {
          throw LibvirtError.last()
        }
        guard virDomainOpenConsole(domain, device, stream, flags) == 0 else {
          defer { virStreamFree(stream) }
          throw LibvirtError.last()
        }
        return try ConsoleCore(stream, continuation)
      }
    } catch {
      await own.close()
      throw error
    }
    own.onClose { _ in continuation.finish() }
    continuation.onTermination = { _ in
      Task {
        _ = try? await own.quick { _ throws(LibvirtError) in core.close() }
        await own.close()
      }
    }
    return Console(connection: own, core: core, output: output)
  }
}
