import AloftModel
import JSON

/// The operation that tells callers who they are.
struct SelfHandlers: Sendable {
  func register(in table: inout HandlerTable) {
    table.on("whoami") { call in .json(CallerView(principal: call.principal)) }
  }
}

/// A caller as the API shows it.
private struct CallerView: JSONWritable {
  let principal: Principal

  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.key("user")
      writer.object { writer in
        writer.field("id", principal.user)
        writer.field("name", principal.userName)
        writer.field("kind", principal.userKind)
      }
      writer.field("token_id", principal.token)
      writer.field("session_id", principal.session)
      writer.field("expires_at", principal.expiresAt)
      writer.field("cloud_role", principal.cloudRole)
      writer.field("limit", principal.limit)
      writer.key("projects")
      writer.array { writer in
        for grant in principal.grants {
          var effective = grant
          if let everywhere = principal.cloudRole?.inEveryProject { effective.role = max(grant.role, everywhere) }
          writer.write(effective)
        }
      }
    }
  }
}

extension Principal.Grant: JSONWritable {
  func write(to writer: inout JSONWriter) {
    writer.object { writer in
      writer.field("id", project)
      writer.field("name", name)
      writer.field("role", role)
    }
  }
}
