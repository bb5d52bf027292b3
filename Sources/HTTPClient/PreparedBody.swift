import Execution
import Glibc

/// A request body that is ready to be read by libcurl's callback: its length is known as far as it can be, and its
/// source (if it is not memory) is at work.
struct PreparedBody: Sendable {
  enum Source: Sendable {
    case none
    case memory([UInt8])
    case pipe(UploadPipe)
  }

  let source: Source
  /// `nil`: unknown, sent chunked.
  let length: Int64?
  private let producer: Task<Void, Never>?

  static let none = PreparedBody(source: .none, length: 0, producer: nil)

  /// Above this size the server is asked first (`Expect: 100-continue`), so that a refusal does not cost the upload.
  static let expectThreshold: Int64 = 1 << 20

  /// Ends the source: nobody reads any more.
  func stop() {
    producer?.cancel()
    if case .pipe(let pipe) = source { pipe.closeReading() }
  }

  /// Opens the source of a request's body. A file's errors show here, before anything is sent.
  static func prepare(_ body: HTTPClientBody, origin: Origin) async throws(HTTPClientError)
    -> PreparedBody
  {
    switch body {
    case .none: return .none
    case .bytes(let bytes):
      return PreparedBody(source: .memory(bytes), length: Int64(bytes.count), producer: nil)
    case .produced(let length, let produce):
      let pipe = UploadPipe(length: length)
      let producer = Task {
        do {
          try await produce(HTTPClientBodyWriter(pipe: pipe))
          pipe.finishWriting()
        } catch {
          pipe.fail(.bodySource, "\(type(of: error))")
        }
      }
      return PreparedBody(source: .pipe(pipe), length: length, producer: producer)
    case .file(let path, let offset, let length):
      // Disk reads may block for long: each file body has its own thread, the loop's thread never touches a disk.
      let thread = DedicatedThread(name: "http-file-read")
      let file: OpenFile
      do {
        file = try await thread.run { () throws(FileFailure) in try OpenFile(reading: path) }
      } catch {
        throw HTTPClientError(
          kind: .file(errno: error.errno), origin: origin.description,
          detail: "reading \(path): \(error)")
      }
      let count = length ?? max(0, file.size - offset)
      let pipe = UploadPipe(length: count)
      let producer = Task { await pump(file, on: thread, offset: offset, count: count, into: pipe) }
      return PreparedBody(source: .pipe(pipe), length: count, producer: producer)
    }
  }

  private static func pump(
    _ file: OpenFile, on thread: DedicatedThread, offset: Int64, count: Int64, into pipe: UploadPipe
  ) async {
    let writer = HTTPClientBodyWriter(pipe: pipe)
    var done: Int64 = 0
    do {
      while done < count {
        let position = offset + done
        let size = Int(min(count - done, 256 << 10))
        let chunk = try await thread.run { () throws(FileFailure) in
          try file.read(at: position, count: size)
        }
        if chunk.isEmpty { throw FileFailure(errno: 0) }
        try await writer.write(chunk)
        done += Int64(chunk.count)
      }
      pipe.finishWriting()
    } catch let failure as FileFailure {
      pipe.fail(.file(errno: failure.errno), "\(failure)")
    } catch {
      // The writer's only error: the transfer is over, nobody is left to be told.
    }
  }
}
