"""A celery application whose tasks send. When run, it requests as many tasks as its argument says.

Its broker is the folder HOST_BROKER.
"""

import os
import sys

from celery import Celery
from host import send_and_tell

FOLDER = os.environ["HOST_BROKER"]

app = Celery("celery_tasks", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": FOLDER,
        "data_folder_out": FOLDER,
        "control_folder": FOLDER,
    },
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)


@app.task(name="send")
def send() -> None:
    send_and_tell(1)


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        send.delay()
