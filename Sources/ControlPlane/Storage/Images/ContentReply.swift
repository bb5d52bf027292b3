import AloftModel
import Foundation
import HTTP
import HTTPTypes
import ObjectStorage

/// Answers with an image's content, or a range of it (RFC 9110, 14). Memory is a few pieces of the content, however long it is.
struct ContentReply {
  let contents: ImageContents
  let content: UUID
  let size: Int
  let sha256: String
  /// What a browser saves it as.
  var fileName: String?

  func reply(to request: HTTPFields) async throws -> Reply {
    let tag = "\"\(sha256)\""
    var reply = Reply(contentType: "application/octet-stream")
    reply.headers[.acceptRanges] = "bytes"
    reply.headers[.eTag] = tag
    if let fileName { reply.headers[.contentDisposition] = "attachment; filename=\"\(fileName)\"" }
    // A range of another content is none of this one: all of it is sent then.
    let isSame = request[.ifRange].map { $0 == tag } ?? true
    var range = 0..<size
    if isSame, let asked = request[.range].flatMap(Self.single) {
      guard let part = Self.resolve(asked, size) else {
        throw RangeNotSatisfiable(size: size)
      }
      range = part
      reply.status = .partialContent
      reply.headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(size)"
    }
    let object = try await contents.read(content, range: Int64(range.lowerBound)..<Int64(range.upperBound))
    guard object.info.size == Int64(size) else {
      throw Problem(.unavailable, "the image store does not hold this content as it was; ask the operator")
    }
    reply.body = .stream(length: Int64(range.count)) { writer in
      for try await bytes in object { try await writer.write(bytes) }
    }
    return reply
  }

  /// What was asked for: from a byte on, up to a byte, or the last so many.
  enum Asked: Equatable {
    case from(Int, to: Int?)
    case last(Int)
  }

  /// A field with one range of bytes. Nil for several and for what is no range: those are passed over.
  static func single(_ field: String) -> Asked? {
    guard field.hasPrefix("bytes=") else { return nil }
    let parts = field.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false)
    let isDigits = parts.allSatisfy { $0.utf8.allSatisfy { (48...57).contains($0) } && $0.utf8.count <= 18 }
    guard parts.count == 2, isDigits else { return nil }
    switch (Int(parts[0]), Int(parts[1])) {
    case (nil, let count?): return parts[0].isEmpty ? .last(count) : nil
    case (let first?, nil): return parts[1].isEmpty ? .from(first, to: nil) : nil
    case (let first?, let last?): return first <= last ? .from(first, to: last) : nil
    case (nil, nil): return nil
    }
  }

  /// Nil when the content has none of it.
  static func resolve(_ asked: Asked, _ size: Int) -> Range<Int>? {
    switch asked {
    case .from(let first, let last):
      first < size ? first..<min(size, (last ?? size - 1) + 1) : nil
    case .last(let count):
      count > 0 && size > 0 ? max(0, size - count)..<size : nil
    }
  }
}

/// A range that begins behind the end.
struct RangeNotSatisfiable: Error {
  var size: Int
}

extension ImageHandlers {
  func download(_ call: Call) async throws -> Reply {
    let image = try await plane.database.run { session in try ImageStore.require(call, in: session) }
    guard let content = image.upload, let size = image.sizeBytes, let sha256 = image.sha256 else {
      throw Problem(.imageNotReady, "image \(image.name) has no content yet")
    }
    return try await ContentReply(
      contents: plane.images, content: content, size: size, sha256: sha256,
      fileName: "\(image.name).\(image.format?.rawValue ?? "raw")"
    ).reply(to: call.request.headers)
  }
}
