"""Mistakes that filters' authors make; mypy finds each, on its line, with the words behind `error:`."""

from __future__ import annotations

from plano import CallNext, Filter, Plano, Request, Response


async def no_await(request: Request, call_next: CallNext) -> Response:
    return call_next(request)  # error: Incompatible return value type (got "Awaitable[Response]", expected "Response")


async def no_await_before_use(request: Request, call_next: CallNext) -> Response:
    response = call_next(request)
    return response.map_text(str.upper)  # error: "Awaitable[Response]" has no attribute "map_text"


async def no_return(request: Request, call_next: CallNext) -> Response:  # error: Missing return statement
    await call_next(request)


async def a_text(request: Request, call_next: CallNext) -> Response:
    return "Hello"  # error: Incompatible return value type (got "str", expected "Response")


async def no_text(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    return response.map_text(lambda text: None)  # error: Incompatible return value type (got "None", expected "str")


async def headers(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    response.headers.append(("x-name", b"value"))  # error: expected "tuple[bytes, bytes]"
    response.set_header("x-name", 3)  # error: Argument 2 to "set_header" of "Response" has incompatible type "int"
    return response


async def in_place(request: Request, call_next: CallNext) -> Response:
    request.model = "other"  # error: Property "model" defined in "Request" is read-only
    request.conversation.temperature = 0.0  # error: Property "temperature" defined in "Conversation" is read-only
    return await call_next(request)


def plain(request: Request, call_next: CallNext) -> Response:
    return Response.of(request, "Hello")


async def of_one(request: Request) -> Response:
    return Response.of(request, 3)  # error: Argument 2 to "of" of "Response" has incompatible type "int"


class Class:
    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        return await call_next(request)


SYNC: Filter = plain  # error: Incompatible types in assignment
SHORT: Filter = of_one  # error: Incompatible types in assignment
A_CLASS: Filter = Class  # error: Incompatible types in assignment

Plano({}, filters=[plain])  # error: List item 0 has incompatible type
