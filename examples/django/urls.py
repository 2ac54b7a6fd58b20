from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from telemetry import agent

ITEMS = {1: "kettle", 2: "teapot", 3: "cup", 4: "saucer", 5: "spoon"}


def home(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"shop": "Kettles and cups"})


def item(_request: HttpRequest, number: int) -> HttpResponse:
    if number not in ITEMS:
        raise Http404
    return JsonResponse({"id": number, "name": ITEMS[number]})


def search(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "")
    return JsonResponse({"found": [name for name in ITEMS.values() if query in name]})


def login(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=401)


def telemetry(_request: HttpRequest) -> HttpResponse:
    """What the agent has accepted, sent and lost. Show it to operators only."""
    return JsonResponse(agent.get_stats())


urlpatterns = [
    path("", home),
    path("items/<int:number>", item),
    path("search", search),
    path("login", login),
    path("telemetry", telemetry),
]
