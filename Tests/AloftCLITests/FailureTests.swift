import HTTPClient
import JSON
import Testing

@testable import AloftCLI

@Suite struct FailureTests {
  private let plain = Style(isTerminal: false, environment: [:])

  @Test(
    "each HTTP status has its exit status",
    arguments: [
      (200, nil), (400, CommandStatus.refused), (401, .notAuthenticated), (403, .notAuthenticated), (404, .notFound),
      (405, .refused), (408, .serverFault), (409, .refused), (412, .refused), (422, .refused), (500, .serverFault),
      (503, .serverFault),
    ])
  func exitStatus(http: Int, expected: CommandStatus?) { #expect(CommandStatus(httpStatus: http) == expected) }

  @Test("the exit codes are those that the help promises")
  func numbers() {
    #expect(CommandStatus.allCases.map(\.rawValue) == [0, 1, 2, 3, 4, 5, 6, 7, 130, 141])
    #expect(CommandStatus.explanation.contains("7    the operation goes on, but --timeout has passed"))
  }

  @Test("a problem is shown with its faults, the refusal, a hint and the request id")
  func problem() {
    let body: JSONValue = [
      "status": 409, "code": "no_capacity", "detail": "no node can take it", "request_id": "req-7",
      "errors": [["code": "out_of_range", "detail": "too much", "pointer": "/vcpus"]],
      "refusal": [
        "nodes": 3, "removed": [["constraint": "memory", "nodes": 1, "reason": "less than 8 GiB free"]],
        "hints": ["memory_mib 4096"],
      ],
    ]
    let failure = CommandFailure(status: 409, body: body.bytes, requestID: nil, path: "/v1/vms")
    #expect(failure.status == .refused)
    #expect(
      failure.rendered(style: plain) == """
        aloft: no node can take it
          /vcpus: too much
          of 3 nodes:
          memory: removed 1 node: less than 8 GiB free
          would fit: memory_mib 4096
        hint: Ask for less, or add a node; `aloft node list` shows what is claimed.
        request: req-7

        """)
  }

  @Test("a code of a newer server is shown as it is")
  func unknownCode() {
    let body: JSONValue = ["status": 409, "code": "brand_new", "detail": "because"]
    let failure = CommandFailure(status: 409, body: body.bytes, requestID: "req-1", path: "/v1/vms")
    #expect(failure == CommandFailure(.refused, "because", requestID: "req-1"))
  }

  @Test("an error page of something else is not taken for a problem")
  func foreignAnswer() {
    let failure = CommandFailure(
      status: 502, body: Array("<html>Bad Gateway</html>".utf8), requestID: nil, path: "/v1/vms")
    #expect(failure.status == .serverFault)
    #expect(failure.detail == "the server answered 502 without saying why")
  }

  @Test("what is not found is told where to look, by the noun of its path")
  func notFound() {
    let body: JSONValue = ["status": 404, "code": "not_found", "detail": "there is no node pool 'x'"]
    let failure = CommandFailure(status: 404, body: body.bytes, requestID: nil, path: "/v1/node-pools/x")
    #expect(failure.hint == "`aloft node-pool list` shows what there is.")
  }

  @Test("a lost connection says that a change may have been made")
  func lost() {
    let error = HTTPClientError(kind: .connectionLost, origin: "https://a", detail: "")
    #expect(CommandFailure(error, changes: true).hint?.contains("not known") == true)
    #expect(CommandFailure(error, changes: false).hint == "Try again in a moment.")
    let refused = HTTPClientError(kind: .tls(.untrustedCertificate), origin: "https://a", detail: "")
    #expect(CommandFailure(refused, changes: true).hint?.contains("--ca-cert") == true)
  }

  @Test("a failed operation tells its reason and its id")
  func operation() {
    let operation: JSONValue = [
      "id": "op_1", "kind": "vm.create", "status": "failed",
      "error": ["code": "node_disk_full", "detail": "the node's disk is full"],
    ]
    let failure = OperationWait.failure(operation, "web1")
    #expect(failure.status == .operationFailed)
    #expect(failure.detail == "web1: vm.create failed: the node's disk is full")
    #expect(failure.lines == ["reason: node_disk_full", "operation: op_1"])
  }

  @Test("an operation in a status of a newer server has ended when it says when")
  func newerStatus() {
    #expect(!OperationWait.hasEnded(["status": "paused", "finished_at": nil]))
    #expect(OperationWait.hasEnded(["status": "cancelled", "finished_at": "2026-01-01T00:00:00Z"]))
  }
}
