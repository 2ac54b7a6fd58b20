from h import *
P=18530
