// What the documents in ../operations ask for, and how it is read from JSON. A test of the project compares each class,
// field by field, with the schema and the documents.
package org.openassistant.example

import org.json.JSONArray
import org.json.JSONObject

data class UserError(
    val code: String,
    val message: String,
    val path: List<String>,
    val retryAfter: Double? = null,
)

data class Message(
    val id: String,
    val role: String,
    val text: String,
    val mine: Boolean,
)

data class LabelQuestion(
    val name: String,
    val widget: String,
    val mandatory: Boolean,
)

data class RankingCandidate(
    val id: String,
    val text: String,
)

/** Its `__typename` says which of the last three fields it has. */
data class Task(
    val __typename: String,
    val id: String,
    val kind: String,
    val lang: String,
    val expiresAt: String,
    val draft: String? = null,
    val thread: List<Message>? = null,
    val labels: List<LabelQuestion>? = null,
    val replies: List<RankingCandidate>? = null,
)

data class TaskAvailability(
    val kind: String,
    val count: Int,
)

data class User(
    val id: String,
    val displayName: String,
)

data class Viewer(
    val user: User,
    val availableTasks: List<TaskAvailability>,
)

interface Payload {
    val userErrors: List<UserError>
}

data class DevelopmentSignInPayload(
    override val userErrors: List<UserError>,
    val token: String? = null,
    val expiresAt: String? = null,
) : Payload

data class RequestTaskPayload(
    override val userErrors: List<UserError>,
    val task: Task? = null,
) : Payload

data class SubmitPromptPayload(
    override val userErrors: List<UserError>,
    val message: Message? = null,
) : Payload

data class SubmitReplyPayload(
    override val userErrors: List<UserError>,
    val message: Message? = null,
) : Payload

data class SignInData(
    val developmentSignIn: DevelopmentSignInPayload,
)

data class DashboardData(
    val viewer: Viewer? = null,
)

data class TakeTaskData(
    val requestTask: RequestTaskPayload,
)

data class WritePromptData(
    val submitPrompt: SubmitPromptPayload,
)

data class WriteReplyData(
    val submitReply: SubmitReplyPayload,
)

data class WatchTasksData(
    val taskAvailable: List<TaskAvailability>,
)

private fun JSONObject.text(name: String): String? = if (isNull(name)) null else getString(name)

private fun <T> JSONObject.one(name: String, read: (JSONObject) -> T): T? = optJSONObject(name)?.let(read)

private fun <T> JSONArray.all(item: (Int) -> T): List<T> = (0 until length()).map(item)

private fun <T> JSONObject.list(name: String, read: (JSONObject) -> T): List<T> =
    getJSONArray(name).let { found -> found.all { read(found.getJSONObject(it)) } }

private fun <T> JSONObject.listOrNull(name: String, read: (JSONObject) -> T): List<T>? =
    if (isNull(name)) null else list(name, read)

private fun userErrors(json: JSONObject) = json.list("userErrors") { each ->
    val path = each.getJSONArray("path")
    val wait = if (each.isNull("retryAfter")) null else each.getDouble("retryAfter")
    UserError(each.getString("code"), each.getString("message"), path.all(path::getString), wait)
}

private fun message(json: JSONObject) =
    Message(json.getString("id"), json.getString("role"), json.getString("text"), json.getBoolean("mine"))

private fun question(json: JSONObject) =
    LabelQuestion(json.getString("name"), json.getString("widget"), json.getBoolean("mandatory"))

private fun candidate(json: JSONObject) = RankingCandidate(json.getString("id"), json.getString("text"))

private fun task(json: JSONObject) = Task(
    json.getString("__typename"),
    json.getString("id"),
    json.getString("kind"),
    json.getString("lang"),
    json.getString("expiresAt"),
    json.text("draft"),
    json.listOrNull("thread", ::message),
    json.listOrNull("labels", ::question),
    json.listOrNull("replies", ::candidate),
)

private fun availability(json: JSONObject) = TaskAvailability(json.getString("kind"), json.getInt("count"))

private fun viewer(json: JSONObject): Viewer {
    val user = json.getJSONObject("user")
    val whose = User(user.getString("id"), user.getString("displayName"))
    return Viewer(whose, json.list("availableTasks", ::availability))
}

fun signInData(json: JSONObject): SignInData {
    val payload = json.getJSONObject("developmentSignIn")
    return SignInData(DevelopmentSignInPayload(userErrors(payload), payload.text("token"), payload.text("expiresAt")))
}

fun dashboardData(json: JSONObject) = DashboardData(json.one("viewer", ::viewer))

fun takeTaskData(json: JSONObject): TakeTaskData {
    val payload = json.getJSONObject("requestTask")
    return TakeTaskData(RequestTaskPayload(userErrors(payload), payload.one("task", ::task)))
}

fun writePromptData(json: JSONObject): WritePromptData {
    val payload = json.getJSONObject("submitPrompt")
    return WritePromptData(SubmitPromptPayload(userErrors(payload), payload.one("message", ::message)))
}

fun writeReplyData(json: JSONObject): WriteReplyData {
    val payload = json.getJSONObject("submitReply")
    return WriteReplyData(SubmitReplyPayload(userErrors(payload), payload.one("message", ::message)))
}

fun watchTasksData(json: JSONObject) = WatchTasksData(json.list("taskAvailable", ::availability))
