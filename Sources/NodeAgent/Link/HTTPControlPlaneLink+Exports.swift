import AloftModel
import FoundationEssentials
import HTTPClient
import HTTPTypes
import JSON

extension HTTPControlPlaneLink {
  /// For how long no byte may move: behind the last one the content is looked at.
  private static let idle = Duration.seconds(300)
  private static let exportPatience = Duration.seconds(30)

  public func tell(_ report: ExportReport, of image: ImageID) async throws(AgentFailure) {
    let body: [UInt8]
    do { body = try JSONCoder.encode(report) } catch {
      throw AgentFailure(.controlPlaneRefused, "a report cannot be written: \(error)")
    }
    _ = try await exchange(
      .put, "/agent/v1/images/\(image)/export", [.contentType: "application/json"], .bytes(body),
      deadline: Self.exportPatience)
  }

  public func uploadOffset(of image: ImageID) async throws(AgentFailure) -> Int {
    let response = try await exchange(.head, Self.content(image), [:], .none, deadline: Self.exportPatience)
    guard let offset = Self.offsetName.flatMap({ response.headers[$0] }).flatMap({ Int($0) }), offset >= 0 else {
      throw AgentFailure(.controlPlaneRefused, "the control plane does not say how much of image \(image) it has")
    }
    return offset
  }

  public func discardUpload(of image: ImageID) async throws(AgentFailure) {
    _ = try await exchange(.delete, Self.content(image), [:], .none, deadline: Self.exportPatience)
  }

  public func upload(_ file: ExportedFile, as image: ImageID, from offset: Int) async throws(AgentFailure) {
    guard offset <= file.sizeBytes else {
      throw AgentFailure(.controlPlaneRefused, "the control plane has more of image \(image) than there is")
    }
    var headers: HTTPFields = [.contentType: "application/partial-upload"]
    for (name, value) in [
      ("Upload-Offset", "\(offset)"), ("Upload-Complete", "?1"),
      ("Repr-Digest", "sha-256=:\(Data(file.sha256).base64EncodedString()):"),
    ] {
      if let name = HTTPField.Name(name) { headers[name] = value }
    }
    let length = file.sizeBytes - offset
    _ = try await exchange(
      .patch, Self.content(image), headers,
      length == 0 ? .none : .file(path: file.path, offset: Int64(offset), length: Int64(length)), deadline: nil)
  }

  private static func content(_ image: ImageID) -> String { "/agent/v1/images/\(image)/content" }
  private static let offsetName = HTTPField.Name("Upload-Offset")

  /// Asks the replica that answered last; the next attempt asks another one.
  private func exchange(
    _ method: HTTPRequest.Method, _ path: String, _ headers: HTTPFields, _ body: HTTPClientBody, deadline: Duration?
  ) async throws(AgentFailure) -> HTTPClientResponse {
    let (client, url) = reached
    let request = HTTPClientRequest(
      method: method, url: url + path, headers: headers, body: body, idleTimeout: Self.idle)
    do throws(HTTPClientError) {
      let response = try await client.send(request, deadline: deadline)
      guard (200...299).contains(response.status) else {
        throw HTTPClientError(
          kind: .unexpectedStatus(response.status), origin: url, detail: "", responseBody: response.body)
      }
      return response
    } catch {
      let failure = AgentFailure(error)
      if failure.kind == .controlPlaneUnavailable { tryAnother() }
      throw failure
    }
  }
}
