import Foundation
import HTTPClient
import HTTPTypes
import JSON
import Logging

/// Makes many calls of a ``Cloud`` at once, over connections that it keeps.
struct CloudCaller: Sendable {
  private let cloud: Cloud
  private let client: HTTPClient

  init(_ cloud: Cloud, connections: Int) {
    self.cloud = cloud
    client = HTTPClient(
      configuration: HTTPClientConfiguration(
        trustRoots: .file(cloud.folder + "/pki/ca.crt"), maxConnectionsPerHost: connections),
      logger: Logger(label: "race"))
  }

  func close() { client.close() }

  /// Sends JSON to a replica; any status is an answer.
  func send(
    _ method: HTTPRequest.Method, _ path: String, to replica: Int, _ body: String
  ) async throws -> (status: Int, body: JSONValue) {
    let headers: HTTPFields = [.authorization: "Bearer \(cloud.token)", .contentType: "application/json"]
    let response = try await client.send(
      HTTPClientRequest(
        method: method, url: cloud.url(replica) + path, headers: headers, body: .bytes(Array(body.utf8))),
      deadline: .seconds(200))
    return (response.status, try JSONValue.parse(response.body))
  }
}
