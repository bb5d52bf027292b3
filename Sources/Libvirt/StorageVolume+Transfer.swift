import CLibvirt
import Execution
import Foundation

// A transfer has a connection and a thread of its own: it lasts long, and its data must not delay other calls' answers.
extension StorageVolume {
  /// Writes what `file` holds from its current position to its end over the volume's beginning. To upload a qcow2 image,
  /// make a *raw* volume, upload, and ``StoragePool/refresh()``, which detects the format.
  ///
  /// Cancelling the task aborts the transfer and throws `operationAborted`; the volume's content is then undefined.
  public func upload(from file: FileHandle) async throws(LibvirtError) {
    try await transfer { volume, stream, isCancelled throws(LibvirtError) in
      try LibvirtError.check(virStorageVolUpload(volume, stream, 0, 0, 0))
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunkSize, alignment: 1)
      defer { buffer.deallocate() }
      while true {
        if isCancelled() { throw LibvirtError(.operationAborted, message: "the upload was cancelled") }
        let count = read(file.fileDescriptor, buffer.baseAddress, buffer.count)
        if count == 0 { return }
        guard count > 0 else {
          if errno == EINTR { continue }
          throw LibvirtError(.systemError, message: "reading the file failed: \(String(cString: strerror(errno)))")
        }
        var sent = 0
        while sent < count {
          let start = buffer.baseAddress?.advanced(by: sent).assumingMemoryBound(to: CChar.self)
          sent += Int(try LibvirtError.check(virStreamSend(stream, start, count - sent)))
        }
      }
    }
  }

  /// Writes the volume's content to `file`. Cancelling the task aborts and throws `operationAborted`.
  public func download(to file: FileHandle) async throws(LibvirtError) {
    try await transfer { volume, stream, isCancelled throws(LibvirtError) in
      try LibvirtError.check(virStorageVolDownload(volume, stream, 0, 0, 0))
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunkSize, alignment: 1)
      defer { buffer.deallocate() }
      while true {
        if isCancelled() { throw LibvirtError(.operationAborted, message: "the download was cancelled") }
        let start = buffer.baseAddress?.assumingMemoryBound(to: CChar.self)
        let count = Int(try LibvirtError.check(virStreamRecv(stream, start, buffer.count)))
        if count == 0 { return }
        var written = 0
        while written < count {
          let result = write(file.fileDescriptor, buffer.baseAddress?.advanced(by: written), count - written)
          guard result >= 0 || errno == EINTR else {
            throw LibvirtError(.systemError, message: "writing the file failed: \(String(cString: strerror(errno)))")
          }
          written += max(0, result)
        }
      }
    }
  }

  private func transfer(
    _ body: @escaping @Sendable (virStorageVolPtr, virStreamPtr, () -> Bool) throws(LibvirtError) -> Void
  ) async throws(LibvirtError) {
    var options = Connection.Options()
    options.longCallThreads = 0
    let connection = try await Connection.open(pool.connection.uri, options: options, logger: pool.connection.logger)
    let (poolName, name) = (pool.name, name)
    let cancelled = Lock(false)
    let result: Result<Void, LibvirtError> = await withTaskCancellationHandler {
      do throws(LibvirtError) {
        try await connection.quick { connection throws(LibvirtError) in
          guard let pool = virStoragePoolLookupByName(connection, poolName) else { throw LibvirtError.last() }
          defer { virStoragePoolFree(pool) }
          guard let volume = virStorageVolLookupByName(pool, name) else { throw LibvirtError.last() }
          defer { virStorageVolFree(volume) }
          guard let stream = virStreamNew(connection, 0) else { throw LibvirtError.last() }
          defer { virStreamFree(stream) }
          do throws(LibvirtError) {
            try body(volume, stream) { cancelled.withLock { $0 } }
          } catch {
            virStreamAbort(stream)
            throw error
          }
          // What libvirtd could not write is known only now.
          try LibvirtError.check(virStreamFinish(stream))
        }
        return .success(())
      } catch {
        return .failure(error)
      }
    } onCancel: {
      cancelled.withLock { $0 = true }
    }
    await connection.close()
    try result.get()
  }
}

/// What libvirt puts into one message.
private let chunkSize = 262_120
