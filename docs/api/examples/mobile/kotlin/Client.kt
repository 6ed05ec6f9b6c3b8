// A small client for Android and the JVM: HttpURLConnection and kotlinx.serialization. The documents are
// ../operations/*.graphql, put into the resources. The types below have the fields that those documents ask for; a test
// of the project compares them with the schema. Call it from a background thread or `withContext(Dispatchers.IO)`.
package org.openassistant.example

import java.net.HttpURLConnection
import java.net.URL
import kotlinx.serialization.DeserializationStrategy
import kotlinx.serialization.Serializable
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.doubleOrNull
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

/** An error that the API gave: act on its code. */
class ApiError(val code: String, message: String, val retryAfter: Double? = null) : Exception(message)

@Serializable
data class UserError(
    val code: String,
    val message: String,
    val path: List<String>,
    val retryAfter: Double? = null,
)

@Serializable
data class Message(
    val id: String,
    val role: String,
    val text: String,
    val mine: Boolean,
)

@Serializable
data class LabelQuestion(
    val name: String,
    val widget: String,
    val mandatory: Boolean,
)

@Serializable
data class RankingCandidate(
    val id: String,
    val text: String,
)

/** Its `__typename` says which of the last three fields it has. */
@Serializable
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

@Serializable
data class TaskAvailability(
    val kind: String,
    val count: Int,
)

@Serializable
data class User(
    val id: String,
    val displayName: String,
)

@Serializable
data class Viewer(
    val user: User,
    val availableTasks: List<TaskAvailability>,
)

interface Payload {
    val userErrors: List<UserError>
}

@Serializable
data class DevelopmentSignInPayload(
    override val userErrors: List<UserError>,
    val token: String? = null,
    val expiresAt: String? = null,
) : Payload

@Serializable
data class RequestTaskPayload(
    override val userErrors: List<UserError>,
    val task: Task? = null,
) : Payload

@Serializable
data class SubmitPromptPayload(
    override val userErrors: List<UserError>,
    val message: Message? = null,
) : Payload

@Serializable
data class SubmitReplyPayload(
    override val userErrors: List<UserError>,
    val message: Message? = null,
) : Payload

@Serializable
data class SignInData(
    val developmentSignIn: DevelopmentSignInPayload,
)

@Serializable
data class DashboardData(
    val viewer: Viewer? = null,
)

@Serializable
data class TakeTaskData(
    val requestTask: RequestTaskPayload,
)

@Serializable
data class WritePromptData(
    val submitPrompt: SubmitPromptPayload,
)

@Serializable
data class WriteReplyData(
    val submitReply: SubmitReplyPayload,
)

class Client(private val url: String, var token: String? = null) {
    private val json = Json { ignoreUnknownKeys = true }

    /** Run the document of that name. Mutations on tasks may be sent again safely: they are idempotent. */
    fun <Data> run(name: String, variables: JsonObject, type: DeserializationStrategy<Data>): Data {
        val document = javaClass.getResource("/$name.graphql")?.readText()
            ?: throw ApiError("BAD_QUERY", "no document $name in the resources")
        val body = JsonObject(mapOf("query" to JsonPrimitive(document), "variables" to variables))
        val connection = URL(url).openConnection() as HttpURLConnection
        connection.requestMethod = "POST"
        connection.doOutput = true
        connection.setRequestProperty("content-type", "application/json")
        token?.let { connection.setRequestProperty("authorization", "Bearer $it") }
        connection.outputStream.use { it.write(body.toString().toByteArray()) }
        val bytes = (connection.errorStream ?: connection.inputStream).use { it.readBytes() }
        val answer = json.parseToJsonElement(bytes.decodeToString()).jsonObject
        (answer["errors"] as? JsonArray)?.firstOrNull()?.jsonObject?.let { first ->
            val about = first["extensions"]?.jsonObject
            val code = about?.get("code")?.jsonPrimitive?.contentOrNull ?: "INTERNAL"
            val message = first["message"]?.jsonPrimitive?.contentOrNull ?: code
            throw ApiError(code, message, about?.get("retryAfter")?.jsonPrimitive?.doubleOrNull)
        }
        val data = answer["data"] ?: throw ApiError("INTERNAL", "an answer without data")
        return json.decodeFromJsonElement(type, data)
    }

    /** `payload`, unless it says what the caller did wrong. */
    fun <T : Payload> done(payload: T): T {
        payload.userErrors.firstOrNull()?.let { throw ApiError(it.code, it.message, it.retryAfter) }
        return payload
    }

    /** A task of any kind in one of these languages; null when there is nothing to do. */
    fun takeTask(langs: List<String>): Task? = try {
        val input = JsonObject(mapOf("langs" to JsonArray(langs.map(::JsonPrimitive))))
        val data = run("TakeTask", JsonObject(mapOf("input" to input)), TakeTaskData.serializer())
        done(data.requestTask).task
    } catch (error: ApiError) {
        if (error.code == "NOTHING_TO_DO") null else throw error
    }

    /** The message that a reply became. */
    fun reply(task: Task, text: String): Message? {
        val input = JsonObject(mapOf("taskId" to JsonPrimitive(task.id), "text" to JsonPrimitive(text)))
        val data = run("WriteReply", JsonObject(mapOf("input" to input)), WriteReplyData.serializer())
        return done(data.submitReply).message
    }
}
