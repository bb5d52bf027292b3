import Foundation
import JSON
import LibvirtTestSupport
import TestSupport
import Testing

extension EndToEnd {
  /// The path of a VM from the first request to its end, by curl alone, with a real guest.
  @Suite(.timeLimit(.minutes(10)))
  struct FirstVMTests {
    @Test("curl alone brings a guest up, reads its serial log, stops, starts and deletes it")
    func curlAlone() async throws {
      let cloud = try await Cloud.start(replicas: 2)
      let body = #"{"name": "hello", "image": "tiny", "memory_mib": 192, "labels": {"tier": "web"}}"#
      let key = "Idempotency-Key: first-try-1"
      let made = try await cloud.send("POST", "/v1/vms", body, headers: [key, "Prefer: wait=60"])
      #expect(made["state"]?.stringValue == "running", "\(made)")
      #expect(made["node"]?.stringValue == "node1")
      #expect(made["operation"]?["status"]?.stringValue == "succeeded")
      let again = try await cloud.send("POST", "/v1/vms", body, headers: [key])
      #expect(again["id"] == made["id"], "a retry with the same key gives the same VM")

      try await cloud.waitForSerial("hello", "ALOFT-READY")
      let log = try await cloud.curl("/v1/vms/hello/serial-log?offset=-2000", replica: 1)
      #expect(log.contains("This is hello"), "the other replica brings the log too")

      let stopped = try await cloud.send("POST", "/v1/vms/hello/stop", "{}", headers: ["Prefer: wait=60"])
      #expect(stopped["state"]?.stringValue == "stopped")
      let started = try await cloud.send("POST", "/v1/vms/hello/start", "{}", headers: ["Prefer: wait=60"])
      #expect(started["state"]?.stringValue == "running")
      try await cloud.waitForSerial("hello", "boots=2")

      let id = try #require(made["id"]?.stringValue)
      let pid = try #require(try cloud.libvirt.guestPid(id))
      let deleted = try await cloud.send("DELETE", "/v1/vms/hello", "", headers: ["Prefer: wait=60"])
      #expect(deleted["operation"]?["status"]?.stringValue == "succeeded")
      #expect(!processRuns(pid))
      #expect(try await cloud.get("/v1/vms")["items"]?.arrayValue?.isEmpty == true)
      #expect(try FileManager.default.contentsOfDirectory(atPath: cloud.folder + "/agent/vms").isEmpty)
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }

    @Test(
      "a guest that ignores the power button is cut off after its grace; the operation has succeeded, the machine says why"
    )
    func stubbornGuest() async throws {
      let cloud = try await Cloud.start()
      let body = #"{"name": "stubborn", "image": "tiny", "memory_mib": 192, "user_data": "aloft-ignore-acpi\n"}"#
      _ = try await cloud.send("POST", "/v1/vms", body, headers: ["Prefer: wait=60"])
      try await cloud.waitForSerial("stubborn", "ALOFT-READY")
      let stopped = try await cloud.send(
        "POST", "/v1/vms/stubborn/stop", #"{"grace_seconds": 2}"#, headers: ["Prefer: wait=60"])
      #expect(stopped["state"]?.stringValue == "stopped")
      #expect(stopped["operation"]?["status"]?.stringValue == "succeeded")
      #expect(stopped["reason"]?.stringValue?.contains("its power was cut") == true, "\(stopped)")
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}
