import AloftModel
import Foundation
import JSON
import Placement

/// The operations on placement.
struct PlacementHandlers: Sendable {
  let plane: Plane

  func register(in table: inout HandlerTable) {
    table.on("explainPlacement", explain)
  }

  private struct ExplainBody: Decodable {
    var vcpus: Int
    var memoryMib: Int
    var diskGib: Int
    var accelerator: AcceleratorChoice?
    var nodeSelector: [String: String]?
    var volumes: [String]?
  }

  private func explain(_ call: Call) async throws -> Reply {
    let body = try call.decode(ExplainBody.self)
    var wanted = NodeInventory.Wanted(
      vcpus: body.vcpus, memoryMiB: body.memoryMib, diskGiB: body.diskGib, accelerator: body.accelerator ?? .any,
      nodeSelector: body.nodeSelector ?? [:], image: nil)
    if let references = body.volumes {
      wanted.volumes = try await plane.database.run { session in
        try references.enumerated().reduce(into: NodeInventory.VolumePlaces()) { places, reference in
          let volume = try VolumeHandlers.Store.require(
            reference.element, call, at: "/volumes/\(reference.offset)", in: session)
          try VolumeHandlers.requireLiving(volume, to: "use")
          places.add(volume)
        }
      }
    }
    let answer = try await plane.inventory.place(wanted, fresh: true, seed: plane.environment.random())
    var writer = JSONWriter()
    writer.object { writer in
      switch answer {
      case .placed: writer.field("fits", true)
      case .refused(let refusal):
        writer.field("fits", false)
        writer.key("refusal")
        refusal.write(to: &writer)
      }
    }
    return Reply(contentType: "application/json", body: .bytes(writer.bytes))
  }
}

extension PlacementRefusal: JSONWritable {
  public func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("nodes", nodes)
      writer.key("removed")
      writer.array { writer in
        for removal in removed {
          writer.object { writer in
            writer.field("constraint", removal.constraint)
            writer.field("nodes", removal.nodes)
            writer.field("reason", removal.reason)
          }
        }
      }
      writer.field("hints", hints)
    }
  }
}
